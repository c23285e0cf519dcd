"""``fbamatte evaluate`` from outside."""

import subprocess
import sys

import pytest

import dataset_trees as trees
from fbamatte.cli import main


def test_table_4_on_a_made_up_composition_1k_tree(tmp_path, capsys):
    root, out = trees.composition_1k(tmp_path / "data", 1), tmp_path / "out"
    assert main(["evaluate", "composition-1k", str(root), "--limit", "5", "--table", "4", "-o", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Table 4 of the paper, on composition-1k; measured on composition-1k, 5 pictures" in printed
    assert len([line for line in printed.splitlines() if line.startswith("fba ") and "SAD" in line]) == 1
    assert "closed-form" in (out / "summary.md").read_text()
    assert (out / "results.csv").exists()
    assert (out / "worst-closed-form.png").exists()
    assert (out / "plots/sad.png").exists()


def test_procedural_with_augmentation_and_report(tmp_path, capsys):
    arguments = ["evaluate", "procedural", "2@64", "--tta", "--tta-set", "flip", "-o", str(tmp_path / "out")]
    assert main([*arguments, "--report", str(tmp_path / "page/report.html")]) == 0
    printed = capsys.readouterr()
    assert "closed-form+tta" in printed.out
    assert "What test-time augmentation changes" in printed.out
    assert "100 %" in printed.err
    assert (tmp_path / "page/report.html").stat().st_size > 10_000


def test_a_failed_picture_is_exit_code_1(tmp_path, capsys):
    root = trees.folder(tmp_path / "data", ("trimap",))
    (root / "trimap/p1.png").unlink()
    assert main(["evaluate", "folder", str(root), "-o", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert "1 failed" in printed.out
    assert "trimap/p1" in printed.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cats", "."], "composition-1k"),
        (["procedural", "many"], "COUNT"),
        (["folder", "/nowhere"], "/nowhere/image: missing"),
        (["procedural", "1@64", "--model", "no-such"], "no-such"),
        (["procedural", "1@64", "--tta", "--tta-set", "shear"], "shear"),
        (["procedural", "1@64", "--workers", "0"], "--workers is 0"),
    ],
)
def test_wrong_usage_is_named(tmp_path, capsys, arguments, said):
    assert main(["evaluate", *arguments, "-o", str(tmp_path / "out")]) in (1, 2)
    assert said in capsys.readouterr().err


def test_the_command_starts_without_loading_what_it_may_not_need():
    heavy = "[m for m in ('torch', 'matplotlib', 'numba') if m in sys.modules]"
    code = f"import sys; from fbamatte.cli import parser; parser(); print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
