"""A user's folder of pictures: any layout, size and kind of file becomes one uniform data set, or an error names the file."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from PIL import Image

from infoadv import data
from infoadv.data import DataError
from infoadv.data.image_folder import digest, folder

CLASSES = ("cat", "dog")


def picture(seed=0, size=(20, 24), mode="RGB"):
    """Return a random picture of ``size`` (height, width)."""
    shape = size if mode == "L" else (*size, len(mode))
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8), mode=mode)


@pytest.fixture
def split(tmp_path):
    """Write a folder with train/ and test/, 3 and 2 pictures of two classes, as PNG."""
    for part, count in (("train", 3), ("test", 2)):
        for number, name in enumerate(CLASSES):
            (tmp_path / "mine" / part / name).mkdir(parents=True)
            for place in range(count):
                seed = 100 * (part == "test") + 10 * number + place
                picture(seed).save(tmp_path / "mine" / part / name / f"{place}.png")
    return tmp_path / "mine"


def only(path, **options):
    """Return the first training picture, (C, H, W)."""
    return folder(None, path=str(path), **options).x_train[0]


def test_train_and_test(split):
    dataset = folder(None, path=str(split))
    data.check(dataset, "mine")
    assert dataset.x_train.shape == (6, 3, 20, 24)
    assert dataset.class_names == CLASSES
    assert dataset.y_train.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.y_test.tolist() == [0, 0, 1, 1]
    for seed, found in ((0, dataset.x_train[0]), (12, dataset.x_train[5]), (101, dataset.x_test[1])):
        np.testing.assert_array_equal(found, np.asarray(picture(seed)).transpose(2, 0, 1))


def test_val_stands_for_test_where_there_is_none(split, capsys):
    (split / "test").rename(split / "val")
    assert len(folder(None, path=str(split)).x_test) == 4
    shutil.copytree(split / "val", split / "test")
    (split / "test" / "dog" / "0.png").unlink()
    assert len(folder(None, path=str(split)).x_test) == 3
    assert "left out: 1 val/" in capsys.readouterr().err


def test_one_folder_is_split_by_the_seed(split):
    path = str(split / "train")
    first = folder(None, path=path, test=0.34)
    assert np.bincount(first.y_train).tolist() == [2, 2]
    assert np.bincount(first.y_test).tolist() == [1, 1]
    again, other = folder(None, path=path, test=0.34), folder(None, path=path, test=0.34, split_seed=3)
    np.testing.assert_array_equal(first.x_test, again.x_test)
    assert not np.array_equal(first.x_test, other.x_test)
    together = [np.concatenate([d.x_train, d.x_test]).sum((1, 2, 3), dtype=np.int64) for d in (first, other)]
    np.testing.assert_array_equal(*[np.sort(sums) for sums in together])


def test_a_class_called_train_is_a_class(split):
    (split / "train" / "cat").rename(split / "train" / "train")
    assert folder(None, path=str(split / "train")).class_names == ("dog", "train")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize(("size", "shape"), [(16, (16, 16)), ([8, 30], (8, 30)), (None, (20, 24))])
def test_size_and_channels(split, size, shape, fit, channels):
    dataset = folder(None, path=str(split), size=size, fit=fit, channels=channels)
    assert dataset.shape == (channels, *shape)


def test_crop_keeps_proportions_and_stretch_the_borders(split):
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (12, 1))
    Image.fromarray(ramp).save(split / "train" / "cat" / "0.png")
    cropped, stretched = (only(split, size=12, fit=fit)[0] for fit in ("crop", "stretch"))
    np.testing.assert_array_equal(cropped, ramp[:, 6:18])
    assert stretched[0, 0] < 15
    assert stretched[0, -1] > 215


def test_files_deeper_and_of_other_kinds(split, capsys):
    (split / "train" / "cat" / "more" / ".hidden").mkdir(parents=True)
    picture(7).save(split / "train" / "cat" / "more" / "Ä b{c}.PNG")
    picture(8).save(split / "train" / "cat" / "more" / ".hidden" / "0.png")
    (split / "train" / "cat" / "notes.txt").write_text("")
    (split / "train" / "cat" / ".DS_Store").write_text("")
    assert len(folder(None, path=str(split)).x_train) == 7
    assert f"{split}: left out: 1 .txt\n" in capsys.readouterr().err


# Kinds of files


def as_rgb(array):
    return np.asarray(array).transpose(2, 0, 1)


def test_gray_palette_and_bilevel_pictures(split):
    path = split / "train" / "cat" / "0.png"
    gray = picture(mode="L")
    gray.save(path)
    np.testing.assert_array_equal(only(split), np.stack([np.asarray(gray)] * 3))
    palette = picture().quantize(16)
    palette.save(path)
    np.testing.assert_array_equal(only(split), as_rgb(palette.convert("RGB")))
    bilevel = picture(mode="L").convert("1")
    bilevel.save(path)
    assert set(np.unique(only(split, channels=1))) == {0, 255}


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(split, mode):
    values = np.asarray(picture(mode=mode)).copy()
    values[:10, :, -1], values[10:, :, -1] = 0, 255
    Image.fromarray(values, mode=mode).save(split / "train" / "cat" / "0.png")
    found = only(split)
    assert (found[:, :10] == 255).all()
    np.testing.assert_array_equal(found[0, 10:], values[10:, :, 0])


def test_sixteen_bits_become_eight(split):
    values = np.arange(480, dtype=np.uint16).reshape(20, 24) * 136
    for name in ("0.png", "0.tif"):
        (split / "train" / "cat" / "0.png").unlink(missing_ok=True)
        Image.fromarray(values).save(split / "train" / "cat" / name)
        np.testing.assert_array_equal(only(split, channels=1)[0], np.rint(values / 257).astype(np.uint8))


def test_pictures_are_turned_as_exif_says(split):
    (split / "train" / "cat" / "0.png").unlink()
    turned = Image.new("L", (24, 20))
    turned.paste(255, (0, 0, 24, 10))
    exif = Image.Exif()
    exif[0x0112] = 3
    turned.save(split / "train" / "cat" / "0.jpg", exif=exif, quality=95)
    found = only(split, channels=1)[0]
    assert found[0].max() < 20
    assert found[-1].min() > 235


def test_cmyk(split):
    (split / "train" / "cat" / "0.png").unlink()
    Image.new("CMYK", (24, 20), (0, 255, 255, 0)).save(split / "train" / "cat" / "0.jpg", quality=95)
    red, green, blue = only(split).reshape(3, -1).mean(1)
    assert red > 240
    assert max(green, blue) < 15


def test_of_an_animation_the_first_frame(split):
    (split / "train" / "cat" / "0.png").unlink()
    frames = [Image.new("L", (24, 20), level) for level in (200, 30)]
    frames[0].save(split / "train" / "cat" / "0.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(only(split), 200, atol=2)


def test_a_suffix_of_another_format(split):
    picture(5).save(split / "train" / "cat" / "0.bmp")
    (split / "train" / "cat" / "0.bmp").rename(split / "train" / "cat" / "0.png")
    np.testing.assert_array_equal(only(split), as_rgb(picture(5)))


# What cannot be used


def refused(path, *parts, **options):
    with pytest.raises(DataError) as caught:
        folder(None, path=str(path), **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), *parts):
        assert part in message


def test_every_broken_file_is_named(split):
    for name, content in (
        ("0.png", b""),
        ("1.png", b"<html>"),
        ("2.png", (split / "train/cat/2.png").read_bytes()[:200]),
    ):
        (split / "train" / "cat" / name).write_bytes(content)
    refused(split, *(f"train/cat/{place}.png cannot be read as a picture" for place in range(3)), "mend or remove")


def test_a_picture_that_would_fill_the_memory(split, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    refused(split, "train/cat/0.png cannot be read as a picture", "and 1 more")


def test_no_program_is_started_for_a_picture(split):
    (split / "train" / "cat" / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 24 20\n%%EOF\n")
    refused(split, "train/cat/0.png cannot be read as a picture")


def test_floats_have_no_known_range(split):
    (split / "train" / "cat" / "0.png").unlink()
    Image.fromarray(np.zeros((20, 24), np.float32)).save(split / "train" / "cat" / "0.tiff")
    refused(split, "train/cat/0.tiff holds values of mode F", "8 or 16 bits")


def test_pictures_of_different_sizes(split):
    picture(size=(30, 20)).save(split / "train" / "dog" / "1.png")
    refused(split, "not all pictures are 20 x 24 like train/cat/0.png", "train/dog/1.png 30 x 20", "'size: [20, 24]'")
    assert folder(None, path=str(split), size=16).shape == (3, 16, 16)


def test_folders_that_are_no_data_set(split):
    refused(split.parent / "nowhere", "cannot be read as a folder")
    refused(split / "train" / "cat", "holds 0 folders of classes")
    (split / "train" / "emu").mkdir()
    refused(split, "train/emu: holds no picture; fill or remove it")
    (split / "train" / "emu").rmdir()
    (split / "test" / "dog").rename(split / "test" / "Dog")
    refused(split, "test/ has the class 'Dog', train/ has not")
    shutil.rmtree(split / "test")
    refused(split, "holds train/ and no test/ or val/")
    for place in (0, 1):
        (split / "train" / "cat" / f"{place}.png").unlink()
    refused(split / "train", "cat: holds one picture; a split")


def test_the_artefact_names_data_set_and_file(split, tmp_path):
    (split / "train" / "cat" / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"data set pets: .*mine: train/cat/0\.png cannot be read"):
        data.make(tmp_path / "pets.safetensors", {"source": "folder", "path": str(split)}, None)


def test_the_digest_follows_names_and_contents_of_pictures(split):
    before = digest(str(split))
    (split / "train" / "cat" / "notes.txt").write_text("no picture")
    (split / "train" / "cat" / "0.png").touch()
    assert digest(str(split)) == before
    (split / "train" / "cat" / "0.png").rename(split / "train" / "cat" / "9.png")
    renamed = digest(str(split))
    picture(50).save(split / "train" / "cat" / "9.png")
    assert len({before, renamed, digest(str(split))}) == 3
