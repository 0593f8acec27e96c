"""The module and the command line say the same, to the last bit."""

import csv
import json
import subprocess

import numpy as np
import pytest

import collapse


@pytest.fixture
def files(splits, tmp_path):
    paths = {}
    for name, arrays in splits.items():
        paths[name] = tmp_path / f"{name}.npz"
        renamed = {f"head_{key}" if key in ("weight", "bias") else key: value for key, value in arrays.items()}
        np.savez(paths[name], **renamed)
    return paths


def run(program, *arguments):
    arguments = [program, "score", *map(str, arguments)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def evaluation(program, files, out, *more):
    run(
        program, "--train", files["train"], "--validation", files["validation"], "--test", files["test"],
        "--ood", f"far={files['far']}", "--out", out, *more,
    )  # fmt: skip
    return json.loads((out / "scores.json").read_text())


def test_evaluate_gives_the_figures_of_scores_json(command_line, files, splits, tmp_path):
    expected = evaluation(command_line, files, tmp_path / "out", "--bootstrap", 20)
    found = collapse.evaluate(
        splits["train"], splits["test"], {"far": splits["far"]}, validation=splits["validation"], bootstrap=20
    )
    own = {"schema", "code_version", "train", "test", "notes"}
    assert expected.keys() - own == found.keys() - {"notes", "samples"}
    for key in expected.keys() - own:
        assert found[key] == expected[key], key
    # And from the files themselves.
    from_files = collapse.evaluate(
        files["train"], str(files["test"]), {"far": files["far"]}, validation=files["validation"], bootstrap=20
    )
    assert from_files["ood"] == expected["ood"]

    with (tmp_path / "out" / "samples.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == sum(len(values) for scores in found["samples"].values() for values in scores.values())
    for row in rows:
        value = found["samples"][row["set"]][row["score"]][int(row["sample"])]
        assert value == float(row["confidence"]), row


@pytest.mark.parametrize("ending", ["json", "msgpack"])
def test_detectors_go_to_the_command_line_and_back(command_line, files, splits, tmp_path, ending):
    theirs, ours = tmp_path / f"theirs.{ending}", tmp_path / f"ours.{ending}"
    evaluation(command_line, files, tmp_path / "out", "--save", theirs)
    fitted = collapse.Detectors.fit(splits["train"], validation=splits["validation"])
    fitted.save(ours)
    loaded = collapse.Detectors.load(theirs)
    assert loaded.names == fitted.names
    for name, scores in fitted.score(splits["far"]).items():
        np.testing.assert_array_equal(loaded.score(splits["far"], [name])[name], scores, strict=True)

    for detector in ["gmm_features", "knn", "energy"]:
        text = run(
            command_line, "--load", ours, "--input", files["far"], "--detector", detector, "--accept", 0.9
        )
        rows = list(csv.DictReader(text.splitlines()))
        decisions = loaded.decide(splits["far"], detector, accept=0.9)
        assert [float(row["confidence"]) for row in rows] == decisions.confidences.tolist()
        assert [row["accept"] == "true" for row in rows] == decisions.accepted.tolist()
        assert {float(row["threshold"]) for row in rows} == {decisions.threshold.value}
