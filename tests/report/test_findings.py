"""The page of findings: what it says is in the tables, and a placeholder that cannot be filled is an error."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from helpers import ROOT
from infoadv import cli
from infoadv.report import findings
from infoadv.report.findings import Aim, FindingsError, Missed, Standing, Tables

TEMPLATE = ROOT / "docs" / "findings.template.md"
REFERENCE = ROOT / "results" / "reference"

QUALITY = """\
dataset,model,attack,n,ssim,ssim_low,ssim_high,asr,ciede2000,p_holm,p
digits,standard,ours,8,0.91234,0.9,0.95,1,,0.0001,0.00001
digits,standard,theirs,8,0.85,0.8,0.9,0.875,,0.04,0.01
digits,robust,ours,8,0.7,0.6,0.8,0.5,,0.5,0.1
"""
RANKING = """\
dataset,model,attack,n,mean_rank,low,high,near_best,home,rank_ssim,rank_nmi,rank_ciede2000
all,all,ours,16,1.2,1,1.4,True,,1,1.1,
all,all,theirs,16,2.5,2,3,False,,2,1.9,
digits,standard,ours,8,1.25,1,1.5,True,nmi,1,1.2,
digits,standard,close,8,1.5,1,2,True,,1,1.2,
digits,standard,theirs,8,1.9,1,2,False,,2,1.8,
digits,robust,ours,8,1.5,1,2,True,,2,1.5,
digits,robust,theirs,8,1.5,1,2,True,,1,1.5,
"""
COMPARISON = """\
dataset,model,attack,reference,metric,better
digits,standard,ours,theirs,ssim,attack
digits,standard,ours,theirs,nmi,reference
digits,standard,ours,theirs,ciede2000,no difference
digits,robust,ours,theirs,ssim,reference
digits,robust,ours,theirs,nmi,no difference
"""


@pytest.fixture
def tables(tmp_path):
    folder = tmp_path / "tables"
    (folder / "peers").mkdir(parents=True)
    for name, text in (("quality", QUALITY), ("ranking", RANKING), ("comparison", COMPARISON)):
        (folder / f"{name}.csv").write_text(text)
        (folder / "peers" / f"{name}.csv").write_text(text.replace("ours", "peer"))
    return folder


@pytest.fixture
def page(tmp_path, tables):
    def fill(text):
        (tmp_path / "page.template.md").write_text(text)
        return findings.render(tmp_path / "page.template.md", tables)

    return fill


@pytest.fixture
def refusal(page):
    def refused(text):
        with pytest.raises(FindingsError) as caught:
            page(text)
        return str(caught.value)

    return refused


def test_the_page_is_what_template_and_reference_tables_give():
    committed = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
    assert committed == findings.render(TEMPLATE, REFERENCE), "run `make findings`"


def test_the_page_follows_the_tables(tmp_path):
    folder = tmp_path / "results" / "reference"
    # What earlier readings and an earlier run found are tables beside the page.
    (tmp_path / "docs").mkdir()
    for path in (ROOT / "docs").glob("*.csv"):
        shutil.copy(path, tmp_path / "docs")
    shutil.copytree(REFERENCE, folder, ignore=shutil.ignore_patterns("*.md", "*.tex"))
    before = findings.render(TEMPLATE, folder)
    comparison = pd.read_csv(folder / "comparison.csv")
    comparison["better"] = comparison["better"].replace({"attack": "reference", "reference": "attack"})
    comparison.to_csv(folder / "comparison.csv", index=False)
    claims = pd.read_csv(folder / "profiles" / "claims.csv")
    claims["verdict"] = claims["verdict"].replace({"supported": "not supported", "not supported": "supported"})
    claims.to_csv(folder / "profiles" / "claims.csv", index=False)
    after = findings.render(TEMPLATE, folder)

    def line(text, start):
        return next(line for line in text.splitlines() if line.startswith(start))

    def cells(text, start):
        return [cell.strip() for cell in line(text, start).strip("|").split("|")[1:]]

    def turned_round(cell):  # a dash is a network that the attack did not run on
        return " / ".join(cell.split(" / ")[place] for place in (1, 0, 2)) if " / " in cell else cell

    turned = [turned_round(cell) for cell in cells(before, "| `mi_mine`")]
    assert cells(after, "| `mi_mine`") == turned != cells(before, "| `mi_mine`")
    assert {cells(before, "| Q1")[0], cells(after, "| Q1")[0]} == {"supported", "not supported"}
    # What is said of them in words turns as well.
    assert before.partition("## ")[0].split("`mi_mine` on ")[1] != after.partition("## ")[0].split("`mi_mine` on ")[1]


@pytest.mark.parametrize(
    ("placeholder", "filled"),
    [
        ('value("quality", "ssim", 3, attack="ours", model="standard")', "0.912"),
        ('value("quality", "n", attack="theirs")', "8"),
        ('value("quality", "model", attack="theirs")', "standard"),
        ('value("peers/quality", "ssim", 2, attack="peer", model="robust")', "0.70"),
        ('shared("quality", "n", attack=["ours", "theirs"])', "8"),
        ('percent("quality", "asr", 1, attack="theirs")', "87.5 %"),
        ('interval("quality", "ssim", 2, attack="theirs")', "0.85 [0.80, 0.90]"),
        ('interval("ranking", "mean_rank", 1, dataset="all", attack="ours")', "1.2 [1.0, 1.4]"),
        ('p_value("quality", "p_holm", attack="theirs")', "0.040"),
        ('p_value("quality", "p_holm", attack="ours", model="standard")', "<0.001"),
        ('span("quality", "ssim", 1, dataset="digits")', "0.7 to 0.9"),
        ('span("quality", "n")', "8"),
        ('values("quality", "attack") | join(", ")', "ours, theirs"),
        ("level", "0.05"),
        ("judging_level", "0.01"),
    ],
)
def test_a_placeholder_is_filled_from_the_table(page, placeholder, filled):
    assert page(f"It is {{{{ {placeholder} }}}}.").splitlines()[-1] == f"It is {filled}."


def test_standing_counts_the_tests_on_ranked_metrics_without_the_attacks_own(tables):
    found = Tables(tables)
    # NMI is the attack's own on the standard network; CIEDE2000 is ranked on neither.
    assert found.standing("ours", model="standard") == Standing(1, 0, 0, ["ssim"])
    assert found.standing("ours", model="robust") == Standing(0, 1, 1, ["ssim", "nmi"])
    assert found.standing("ours") == found.standing("peer", "peers") == Standing(1, 1, 1, ["ssim", "nmi"])
    assert found.standing("ours").tests == 3
    assert found.standing("ours", reference="theirs", model="standard") == Standing(1, 0, 0, ["ssim"])
    with pytest.raises(FindingsError, match="reference='third'"):
        found.standing("ours", reference="third", model="standard")


def test_near_best_are_those_that_the_table_marks(tables):
    found = Tables(tables)
    assert found.near_best(dataset="all") == ["ours"]
    assert found.near_best(model="standard") == ["ours", "close"]
    assert found.near_best("peers", model="robust") == ["peer", "theirs"]


FURTHER = """\
dataset,model,attack,reference,role,metric,p_holm,better
d,m,a,main,metric,ssim,0.001,reference
d,m,a,main,metric,vif,0.02,reference
d,m,a,main,metric,l2,0.001,reference
d,m,a,main,judge,jod,0.001,attack
d,m,b,main,metric,ssim,0.001,reference
d,m,b,main,metric,vif,0.001,attack
d,m,b,main,metric,l2,0.001,attack
d,m,a,noise,metric,ssim,0.001,reference
d,m,a,noise,metric,vif,0.001,attack
d,m,a,noise,metric,l2,0.001,reference
"""
VARIANTS = """\
dataset,model,role,variant,attack,mean_rank,near_best,critical_difference,home,rank_ssim,rank_vif
all,all,metric,all,a,1.1,True,9,,1,1
all,all,metric,all,b,1.9,False,9,,1,1
d,m,metric,all,a,1.2,True,9,,1,1
d,m,metric,all,b,1.8,False,9,,1,1
d,m,metric,strict,a,1.4,True,9,,1,1
"""
VERDICTS = """\
dataset,model,attack,rival,named,verdict,absent
d,m,ours,a,True,ahead,
d,m,ours,b,True,level,
d,m,ours,c,False,ahead,
d,m,ours,best,False,floor,
d,other,ours,a,True,ahead,alma_l2 perc_al
"""


@pytest.fixture
def further(tmp_path):
    for name, text in (("comparison", FURTHER), ("ranking", VARIANTS), ("verdicts", VERDICTS)):
        (tmp_path / f"{name}.csv").write_text(text)
    return Tables(tmp_path)


def test_an_aim_is_counted_by_holms_p_at_the_level_of_the_judges(further):
    # VIF is better at 0.05 and not at 0.01; L2 is not ranked.
    assert further.aim(["a", "b"]) == Aim(2, 2, [])
    assert further.aim(["a", "b"], but=0) == Aim(2, 0, [Missed("a", "d", "m", ["vif"]), Missed("b", "d", "m", ["vif"])])
    assert further.aim(["b"], but=0, side="attack").missed == [Missed("b", "d", "m", ["ssim"])]


def test_rows_of_further_references_and_variants_are_asked_for_by_name(further):
    assert further.shared("comparison", "reference") == "main"
    assert further.values("comparison", "metric", attack="a") == ["ssim", "vif", "l2"]
    assert further.values("comparison", "better", attack="a", reference="noise") == ["reference", "attack"]
    assert further.value("ranking", "mean_rank", 1, dataset="d", attack="a") == "1.2"
    assert further.value("ranking", "mean_rank", 1, dataset="d", attack="a", variant="strict") == "1.4"
    # What the table says, not the critical difference.
    assert further.near_best(dataset="all") == ["a"]


def test_where_noise_is_better_is_said_of_ranked_metrics(further):
    assert further.sides("a", "noise", "reference") == ["ssim"]
    assert further.sides("a", "noise", "attack", dataset="d") == ["vif"]


def test_outcomes_are_the_rivals_by_verdict(further):
    assert further.outcomes("ours", model="m")["ahead"] == ["a", "c"]
    named = further.outcomes("ours", named=True, model="m")
    assert named == {"ahead": ["a"], "behind": [], "level": ["b"], "not judged": [], "floor": []}


def test_what_rule_7_names_and_did_not_run_is_told_for_one_network(further):
    assert further.absent("ours", model="m") == []
    assert further.absent("ours", model="other") == ["alma_l2", "perc_al"]
    with pytest.raises(FindingsError, match="absent differs"):
        further.absent("ours")


@pytest.mark.parametrize(
    ("placeholder", "complaint"),
    [
        (
            'value("quality", "ssim", attack="ous")',
            "no row has attack='ous', there are ours, theirs; correct the placeholder",
        ),
        (
            'value("quality", "ssim", attack="theirs", model="robust")',
            "quality (attack='theirs', model='robust'): no row has",
        ),
        ('span("quality", "ssim", attack=["ours", "peer"])', "no row has attack='peer'"),
        ('span("quality", "ssim", attack=[])', "no row has attack=[]"),
        ('value("quality", "ssim", attack="ours")', "quality (attack='ours'): 2 rows match; choose one by model, ssim"),
        ('value("quality", "ssmi", attack="theirs")', "has no column 'ssmi'; choose one of: dataset, model, attack"),
        ('value("quality", "ssim", atack="theirs")', "has no column 'atack'; choose one of"),
        ('value("quality", "ciede2000", attack="theirs")', "ciede2000 is empty there; choose a row or a column"),
        ('percent("quality", "model", attack="theirs")', "model is 'standard' and no number; choose another column"),
        ('shared("quality", "ssim")', "ssim differs, 0.91234, 0.85, 0.7; choose rows in which it does not"),
        ('value("absent", "ssim")', "absent.csv: cannot be read"),
        ('standing("close")', "comparison (attack='close', metric='ssim', dataset='digits', model='standard'): no row"),
        ('p_value("quality", "p", attack="theirs")', "p is not corrected for the number of tests; ask for Holm's p"),
        ("near_best()", "ranking (): dataset differs"),
        ('vale("quality")', "'vale' is undefined; correct the placeholder"),
        ('value("quality")', "correct the placeholder"),
        ('value("quality"', "correct the placeholder"),
        ("1 // 0", "correct the placeholder"),
        ("value.__globals__", "unsafe"),
    ],
)
def test_a_placeholder_that_cannot_be_filled_is_named(refusal, placeholder, complaint):
    message = refusal(f"Prose.\n\nIt is {{{{ {placeholder} }}}}.\n")
    assert complaint in message
    assert "absent" in message or "page.template.md, line 3: " in message


@pytest.mark.parametrize(
    "number",
    [
        *("0.87", "1,000", "30 %", "30%", "{{ 0.87 }}", '{{ "0.87" }}', "{% set a = 1e-3 %}"),
        *("two pairs", "the four small networks", "Five of the images", "missed in five:", "three\nmetrics"),
    ],
)
def test_a_number_that_is_typed_in_is_refused(refusal, number):
    assert "page.template.md, line 3: " in refusal(f"Prose.\n\nIt is {number}.\n")
    assert "is typed in; take it from a table" in refusal(number)


def test_digits_in_names_and_whole_numbers_are_no_numbers_of_the_run(page):
    prose = "On CIFAR-10 (2020), L2 and Q1: 8 bits, section 3, one network, two ways, no tests."
    assert page(prose + "{# a comment may hold 0.5 #}").splitlines()[-1] == prose


def test_paragraphs_are_broken_anew_and_tables_are_not(page):
    _, paragraph, table = page("A " + "word " * 40 + "\nb.\n\n| " + "cell " * 40 + "|\n| x |\n").split("\n\n")
    assert max(map(len, paragraph.splitlines())) <= 120
    assert paragraph.endswith(" b.")
    assert table == "| " + "cell " * 40 + "|\n| x |\n"


def test_the_command_prints_or_writes_and_leaves_no_half_page(tmp_path, tables, capsys):
    template, out = tmp_path / "page.template.md", tmp_path / "page.md"
    arguments = ["findings", "--tables", str(tables), "--template", str(template)]
    template.write_text('It is {{ value("quality", "n", attack="theirs") }}.')
    assert cli.main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("It is 8.\n")
    assert cli.main([*arguments, "--write", str(out)]) == 0
    assert out.read_text() == printed
    template.write_text("It is 0.8.")
    assert cli.main([*arguments, "--write", str(out)]) == 2
    assert capsys.readouterr().err.startswith(f"infoadv: error: {template}, line 1: ")
    assert out.read_text() == printed
