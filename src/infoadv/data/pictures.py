"""Pictures as files have them, brought to the arrays of a data set: one size, one number of channels, 8 bits.

What a viewer shows is what is read: turned as EXIF says, transparency over white, 16 bits brought to 8, the first frame of
an animation. Colour profiles are not applied.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from infoadv.data import DataError

#: Readers that are tried, whatever the suffix says; others of Pillow's start programs (EPS) or are rarely used.
_FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
#: Files that an error lists.
_LISTED = 5


def opened(path: str | Path) -> Image.Image:
    """Return the picture of a file, decoded. Raises ``DataError``, without its name, where it is damaged, none or too large."""
    try:
        with warnings.catch_warnings():
            # Pillow only warns of pictures of 90 million pixels and more, which a file of a page can hold.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(path, formats=_FORMATS) as picture:
                picture.load()
                return ImageOps.exif_transpose(picture)
    except Exception as error:
        # Pillow raises what its readers happen to raise.
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"cannot be read as a picture ({detail})") from error


def pixels(picture: Image.Image, size: Sequence[int] | None, fit: str, channels: int) -> np.ndarray:
    """Return a picture as uint8 (``channels``, H, W).

    It is brought to ``size`` (height, width) where one is given: scaled to cover it and cut to its centre (``fit: crop``), or
    scaled in each direction alone (``stretch``); bicubic, antialiased. ``channels`` is 1 (luma) or 3 (RGB). Raises
    ``DataError`` where its values or colours cannot be brought there.
    """
    picture = _eight_bits(picture)
    try:
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = picture.convert("RGB" if channels == 3 else "L")
    except ValueError as error:
        raise DataError(
            f"has colours of mode {picture.mode}, which cannot be brought to RGB; save it as RGB"
        ) from error
    if size is not None and picture.size != (size[1], size[0]):
        wanted = (size[1], size[0])
        if fit == "crop":
            picture = ImageOps.fit(picture, wanted, Image.Resampling.BICUBIC)
        else:
            picture = picture.resize(wanted, Image.Resampling.BICUBIC)
    array = np.asarray(picture)
    return array[None] if channels == 1 else array.transpose(2, 0, 1)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a picture of 16 bits a value with 8, any other as it is."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    values = np.asarray(picture)
    # Pillow gives 16 bits as 32 where a format leaves it no choice; of 32 bits and floats nobody knows the range.
    if picture.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise DataError(f"holds values of mode {picture.mode}, whose range is not known; save it with 8 or 16 bits")
    return Image.fromarray(np.rint(values / 257).astype(np.uint8))


def stacked(
    names: Sequence[str],
    read: Callable[[int], Image.Image],
    size: int | Sequence[int] | None,
    fit: str,
    channels: int,
) -> np.ndarray:
    """Return pictures as uint8 (N, ``channels``, H, W); ``read`` returns the picture of a place in ``names``.

    ``size`` is (height, width), one number for both, or None: then all have the size of the first. Raises ``DataError``
    that names the pictures which cannot be used or have another size, the first few of them.
    """
    wanted = [size, size] if isinstance(size, int) else size
    found = np.empty((0, channels, 0, 0), np.uint8)
    failed, other = [], []
    for place, name in enumerate(names):
        try:
            array = pixels(read(place), wanted, fit, channels)
        except DataError as error:
            failed.append(f"{name} {error}")
            continue
        if not len(found):
            found = np.empty((len(names), *array.shape), np.uint8)
        if array.shape == found.shape[1:]:
            found[place] = array
        else:
            other.append(f"{name} {array.shape[1]} x {array.shape[2]}")
    if failed:
        raise DataError(f"{_listed(failed)}; mend or remove them.")
    if other:
        height, width = found.shape[2:]
        raise DataError(
            f"not all pictures are {height} x {width} like {names[0]}: {_listed(other)}; bring them to one size with "
            f"'size: [{height}, {width}]' or another."
        )
    return found


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _LISTED} more" if len(texts) > _LISTED else ""
    return ", ".join(texts[:_LISTED]) + more
