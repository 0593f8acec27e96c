"""The page that `evaluate` writes."""

import html
import re
import subprocess

import numpy as np
import pytest

import collapse


def evaluate(splits, page, **more):
    more = {"validation": splits["validation"], **more}
    return collapse.evaluate(splits["train"], splits["test"], {"far <away>": splits["far"]}, page=page, **more)


def test_the_page_says_what_it_was_made_of(splits, tmp_path):
    page = tmp_path / "made" / "report.html"
    evaluate(splits, page, detectors=["knn", "energy"], bootstrap=20)
    text = page.read_text()
    for part in [
        "2 detectors on 1 out-of-distribution sets",
        "<dt>Training split</dt><dd>train, 400 samples</dd>",
        "<dt>Validation split</dt><dd>validation, 200 samples</dd>",
        "<dt>Test split</dt><dd>test, 150 samples</dd>",
        "<dt>OoD set</dt><dd>far &lt;away&gt;, 120 samples</dd>",
        f"{collapse.__version__} (Python)",
        "collapse.evaluate(train, test, {",
        "validation=validation, detectors=[",
        "bootstrap=20, page=",
        "figure-roc",
        "table-neural-collapse",
    ]:
        assert part in text, part
    assert "far <away>" not in text
    told = re.findall(r"<(?:li|dd|pre)>(.*?)</", text, flags=re.S)
    assert told and not any("--" in line for line in told), "the words are Python's"


def test_without_ood_sets_the_page_tells_of_the_network(splits, tmp_path):
    page = tmp_path / "report.html"
    collapse.evaluate(splits["train"], splits["test"], {}, validation=splits["validation"], detectors=["knn"], page=page)
    text = page.read_text()
    for part in ["1 detector and no out-of-distribution set", "held-out samples", "table-calibration", "table-neural-collapse"]:
        assert part in text, part
    assert "table-scores" not in text


def test_a_page_is_replaced_and_paths_are_told(splits, tmp_path):
    page, train = tmp_path / "report.html", tmp_path / "train.npz"
    page.write_text("an older page")
    arrays = splits["train"]
    np.savez(train, features=arrays["features"], labels=arrays["labels"])
    fitted = collapse.Detectors.fit(arrays, detectors=["knn"])
    collapse.evaluate(train, splits["test"], {"far": splits["far"]}, detectors=fitted, page=str(page))
    text = html.unescape(page.read_text())
    assert "an older page" not in text
    assert f"{train}, 400 samples" in text
    assert f"<dt>Detectors</dt><dd>fitted by {fitted.code_version}</dd>" in text
    assert "detectors=detectors, page=" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "train.npz"]


def test_a_page_takes_the_place_of_no_set(splits, tmp_path):
    train = tmp_path / "train.npz"
    np.savez(train, features=splits["train"]["features"], labels=splits["train"]["labels"])
    before = train.read_bytes()
    with pytest.raises(ValueError, match="train.npz: this is the set .*give the page a place of its own"):
        collapse.evaluate(train, splits["test"], {"far": splits["far"]}, page=train)
    assert train.read_bytes() == before


def test_a_page_that_cannot_be_written_costs_no_evaluation(splits, tmp_path):
    (tmp_path / "file").write_text("")
    # The sets are wrong too, which only a look at them would tell.
    wrong = {**splits, "train": None}
    with pytest.raises(IsADirectoryError, match="it is a folder; give page the name of a file"):
        evaluate(wrong, tmp_path)
    with pytest.raises(OSError, match="file"):
        evaluate(wrong, tmp_path / "file" / "report.html")
    # And work that fails leaves nothing.
    with pytest.raises(ValueError):
        evaluate(wrong, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_page_is_that_of_the_command_line(command_line, splits, tmp_path):
    paths = {}
    for name, arrays in splits.items():
        paths[name] = tmp_path / f"{name}.npz"
        renamed = {f"head_{key}" if key in ("weight", "bias") else key: value for key, value in arrays.items()}
        np.savez(paths[name], **renamed)
    arguments = ["score", "--train", paths["train"], "--validation", paths["validation"], "--test", paths["test"]]
    arguments += ["--ood", f"far <away>={paths['far']}", "--out", tmp_path / "out"]
    subprocess.run([command_line, *map(str, arguments)], check=True, capture_output=True)
    evaluate(splits, tmp_path / "report.html")
    theirs, ours = ((tmp_path / page).read_text() for page in ("out/report.html", "report.html"))
    # Notes and provenance are in the words of each.
    for part in (r"<table.*?</table>", r"<figure.*?</figure>"):
        found = [re.findall(part, text, flags=re.S) for text in (theirs, ours)]
        assert found[0] == found[1] != []
