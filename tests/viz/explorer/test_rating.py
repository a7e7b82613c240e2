import csv
import json
import shutil
import time

import numpy as np
import pytest
from browser_waiting import becomes
from PIL import Image
from typer.testing import CliRunner

import usae_train as ut
import usae_viz.rating.study as study_module
from usae_train.images.sources import open_images
from usae_train.model.natural import natural_pictures
from usae_train.model.statistics import FIRING_THRESHOLD
from usae_viz.cli import app
from usae_viz.export.top_patches import cut_patch, inside_window
from usae_viz.rating.scoring import score_answers
from usae_viz.rating.study import make_study
from usae_viz.runs.run_folder import read_run

STUDY = "abcdefabcdef"
COLUMNS = "study,rater,trial,choice,seconds"


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def study(run_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "out"
    done = run("rate", run_folder, "--out", out, "--seed", 4)
    assert done.exit_code == 0, done.output
    return out


@pytest.fixture
def key(tmp_path):
    """Four questions, of which the last is a control; the first choice is always right."""
    conditions = ["per-model left", "per-model left", "shared shared", "natural"]
    trials = [{"condition": condition, "answer": 1} for condition in conditions]
    (tmp_path / "key.json").write_text(json.dumps({"schema": 1, "study": STUDY, "choices": 4, "trials": trials}))
    return tmp_path


def answered(folder, *rows, name="answers.csv"):
    file = folder / name
    file.write_text("\n".join([COLUMNS, *(f"{STUDY},{row}" for row in rows)]) + "\n")
    return file


def test_a_study_is_the_same_from_its_seed_and_another_from_another(usae_folder, run_folder):
    usae = ut.load(usae_folder)
    natural, _ = natural_pictures(usae)
    made = [[t.as_dict() for t in make_study(usae, natural, read_run(run_folder), seed)] for seed in (4, 4, 5)]
    assert made[0] == made[1]
    assert made[0] != made[2]
    assert (
        len(made[0]) == 2 * 3 + 2
    )  # two concepts, three pictures each, and a control each; the difference is left out


def test_the_answer_is_among_the_concepts_own_and_distractors_are_not(usae_folder, run_folder):
    usae = ut.load(usae_folder)
    natural, _ = natural_pictures(usae)
    source = natural.source
    answers = set()
    for trial in make_study(usae, natural, read_run(run_folder), seed=0, choices=3):
        top = usae.statistics.top_images[:, trial.concept]
        tokens = usae.statistics.top_tokens[:, trial.concept]
        right = trial.choices[trial.answer]
        assert ((top == right.number) & (tokens == right.token)).any()
        assert trial.query != right
        answers.add(trial.answer)
        assert len(trial.choices) == 3
        if trial.strongest_distractor <= FIRING_THRESHOLD:
            for patch in [choice for place, choice in enumerate(trial.choices) if place != trial.answer]:
                canvas = source.read(patch.number, 48)[None]
                for name in usae.names:
                    codes = usae.encode(name, usae.tokens(name, canvas)).of(trial.concept)[0]
                    assert codes[inside_window(patch.token, usae.grid)].max() <= FIRING_THRESHOLD
    assert len(answers) > 1


def test_codes_of_pictures_are_remembered_sparse_and_of_a_bounded_number(usae_folder, run_folder, monkeypatch):
    usae = ut.load(usae_folder)
    natural, _ = natural_pictures(usae)
    made, kept = [], set()
    whole = study_module._QuestionMaker._code

    def watched(self, concept, patch):
        found = whole(self, concept, patch)
        kept.add(len(self.codes_by_picture))
        assert all(own.values.shape[-1] == usae.k for codes in self.codes_by_picture.values() for own in codes)
        return found

    monkeypatch.setattr(study_module._QuestionMaker, "_code", watched)
    for bound in (2_000, 2):
        monkeypatch.setattr(study_module, "MAX_REMEMBERED", bound)
        kept.clear()
        made.append([each.as_dict() for each in make_study(usae, natural, read_run(run_folder), seed=4)])
    assert max(kept) == 2
    assert made[0] == made[1]


def test_what_is_shown_of_a_patch_by_hand():
    """Of a 4 x 4 grid the window is 0.34 wide: it holds one token's centre in the middle, and one at the corner."""
    assert inside_window(5, (4, 4)) == [5]
    assert inside_window(0, (4, 4)) == [0]
    assert inside_window(5 * 9 + 4, (9, 9)) == [row * 9 + col for row in (4, 5, 6) for col in (3, 4, 5)]
    canvas = open_images("demo").read(0, 96)
    assert cut_patch(canvas, 5, (4, 4)).size == (33, 33)


def test_raters_are_told_nothing(study):
    told = [file for file in (study / "study").rglob("*") if file.is_file()]
    key = json.loads((study / "key.json").read_text())
    for file in told:
        if file.suffix == ".webp":
            with Image.open(file) as picture:
                assert picture.size == (256, 256)
                assert set(picture.info) <= {"loop", "background", "timestamp", "duration"}
    data = (study / "study" / "data.js").read_text()
    assert set(json.loads(data[len("usaeStudy(") : data.rindex(")")])) == {"study", "trials", "choices"}
    names = {file.stem for file in told if file.suffix == ".webp"}
    assert names == {f"{trial}-{n}" for trial in range(1, len(key["trials"]) + 1) for n in range(5)}
    assert f'"study": "{key["study"]}"' in data


def test_the_pictures_are_the_questions(study, run_folder, usae_folder):
    """Each picture is the one that key.json says, and no neighbour's."""
    source = open_images(ut.load(usae_folder).measured_on.name)

    def shown(number):
        with Image.open(study / "study" / "pictures" / f"{number}.webp") as picture:
            return np.asarray(picture.convert("RGB"), dtype=float)

    def expected(named):
        if isinstance(named, str):
            with Image.open(run_folder / f"{named}.png") as opened:
                picture = opened.convert("RGB")
        else:
            picture = cut_patch(source.read(named["number"], 48), named["token"], ut.load(usae_folder).grid)
        return np.asarray(picture.resize((256, 256), Image.Resampling.BICUBIC), dtype=float)

    key = json.loads((study / "key.json").read_text())
    trials = key["trials"]
    for number, trial in enumerate(trials, 1):
        for place, named in enumerate([trial["query"], *trial["choices"]]):
            assert np.abs(shown(f"{number}-{place}") - expected(named)).mean() < 12  # WebP's loss, on fine noise
    first = [np.abs(shown("1-1") - expected(named)).mean() for named in trials[0]["choices"]]
    assert min(first[1:]) > 24
    assert [trial["choices"][trial["answer"] - 1] for trial in trials] != [trial["choices"][0] for trial in trials]


def test_scores_by_hand(key):
    outcomes = score_answers(key, [answered(key, "r,1,1,2", "r,2,3,2", "r,3,1,2", "r,4,1,2")])
    found = {each.group: each for each in outcomes}
    assert list(found) == [
        "all drawn pictures",
        "top-activating patches (control)",
        "per-model left",
        "shared shared",
    ]
    drawn = found["all drawn pictures"]
    assert (drawn.answered, drawn.right, drawn.chance) == (3, 2, 0.25)
    assert drawn.p == pytest.approx(3 * 0.25**2 * 0.75 + 0.25**3)  # two or three of three by guessing
    assert found["per-model left"].p == pytest.approx(1 - 0.75**2)
    # Wilson: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    z, n, p = 1.959964, 3, 2 / 3
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert drawn.low == pytest.approx((middle - half) / (1 + z**2 / n), abs=1e-6)
    assert drawn.high == pytest.approx((middle + half) / (1 + z**2 / n), abs=1e-6)


def test_several_raters(key):
    one, two = answered(key, "a,1,1,2", "a,2,1,2", name="a.csv"), answered(key, '"b, c",1,2,2', name="b.csv")
    done = run("rate-score", key, one, two, "--json")
    found = {row["group"]: (row["answered"], row["right"]) for row in json.loads(done.stdout)}
    expected = {"all drawn pictures": (3, 2), "per-model left": (3, 2)}
    assert found == expected | {"drawn, rater a": (2, 2), "drawn, rater b, c": (1, 0)}
    assert "by guessing" in run("rate-score", key, one, two).output


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["r,5,1,2"], "answers.csv:2: trial '5'; expected 1 to 4"),
        (["r,1,1,2", "r,2,0,2"], "answers.csv:3: choice '0'; expected 1 to 4"),
        (["r,1,1,2", "r,1,2,2"], "'r' answered question 1 twice"),
        (["r,1,1"], "4 values; expected study,rater,trial,choice,seconds"),
        ([], "no answers in"),
    ],
)
def test_wrong_answers_name_file_and_line(key, rows, message):
    done = run("rate-score", key, answered(key, *rows))
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_answers_to_something_else(key, tmp_path):
    (tmp_path / "other.csv").write_text(f"{COLUMNS}\nffffffffffff,r,1,1,2\n")
    assert (
        f"an answer to study 'ffffffffffff'; this one is {STUDY}"
        in run("rate-score", key, tmp_path / "other.csv").stderr
    )
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    assert "is not an answers file" in run("rate-score", key, tmp_path / "table.csv").stderr
    assert "is not a study" in run("rate-score", tmp_path / "nowhere", tmp_path / "other.csv").stderr


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"trials": None}, "trials: expected a list"),
        ({"trials": [{"condition": "natural"}]}, "trials.0.answer: it is missing"),
        ({"choices": 0}, "choices: expected at least 2"),
        ({"study": 7}, "study: expected text"),
    ],
)
def test_a_damaged_key_is_one_line(key, damage, message):
    answers, file = answered(key, "r,1,1,2"), key / "key.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **damage}))
    done = run("rate-score", key, answers)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert f"key.json: {message}" in done.stderr
    assert "expected what usae-viz rate wrote" in done.stderr


def test_a_study_is_never_written_over(study, run_folder):
    before = (study / "key.json").read_bytes()
    done = run("rate", run_folder, "--out", study)
    assert done.exit_code == 1
    assert "exists already; choose another --out" in done.stderr
    assert (study / "key.json").read_bytes() == before


def test_wrong_runs_are_one_line(run_folder, tmp_path):
    other = shutil.copytree(run_folder, tmp_path / "difference")
    for concept in other.glob("concept-*"):
        shutil.rmtree(concept)
    for named, message in (("nowhere", "nowhere is not a run folder"), (other, "shows no single concept")):
        done = run("rate", named, "-o", tmp_path / "study")
        assert done.exit_code == 1
        assert message in done.stderr
        assert not (tmp_path / "study").exists()
    assert run("rate", run_folder, "--choices", "1").exit_code == 2


@pytest.mark.browser
def test_a_rater_answers_in_the_browser(study, visit, tmp_path):
    key = json.loads((study / "key.json").read_text())
    page = visit(study / "study")
    page.fill("#rater", "=r, one")
    page.click("#begin")
    page.wait_for_selector("#choices img")

    def at(number):
        becomes(page, lambda: page.inner_text("#progress-count"), f"{number + 1} of {len(key['trials'])}")

    for number, trial in enumerate(key["trials"]):
        at(number)
        if number == 1:
            page.click("#back")  # and answer the first again
            at(0)
            page.keyboard.press(str(key["trials"][0]["answer"]))
            at(1)
            page.reload(wait_until="commit")  # what was answered is kept
            page.wait_for_selector("body[data-ready]")
            page.click("#begin")
            at(1)
        if number % 2:
            page.click(f"#choices button >> nth={trial['answer'] - 1}")
        else:
            page.keyboard.press(str(trial["answer"]))
    page.wait_for_selector("#end")
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(tmp_path / "answers.csv")
    with (tmp_path / "answers.csv").open(newline="") as opened:
        rows = list(csv.reader(opened))
    assert rows[1][1] == "'=r, one"
    outcomes = score_answers(study, [tmp_path / "answers.csv"])
    assert outcomes[0].right == outcomes[0].answered == 6
    assert outcomes[0].p == pytest.approx(0.25**6)


@pytest.mark.browser
def test_answers_arrive_as_they_were_given(study, visit, tmp_path):
    """Whatever is chosen, by pointer or key: the row says question, choice and seconds; the next person starts anew."""
    trials = json.loads((study / "key.json").read_text())["trials"]
    page = visit(study / "study")
    for rater, shift in (('say "r", 2', 0), ("-3", 1)):
        page.fill("#rater", rater)
        begun = time.monotonic()
        page.click("#begin")
        given = [(number + shift) % 4 + 1 for number in range(len(trials))]
        for number, choice in enumerate(given):
            becomes(page, lambda: page.inner_text("#progress-count"), f"{number + 1} of {len(trials)}")
            addresses = [image.get_attribute("src") for image in page.locator("#question img").all()]
            assert addresses == [f"pictures/{number + 1}-{place}.webp" for place in range(5)]
            page.keyboard.press("9")  # there is no such choice
            if number % 2:
                page.keyboard.press(str(choice))
            else:
                page.click(f"#choices button >> nth={choice - 1}")
        page.wait_for_selector("#end", state="visible")
        with page.expect_download() as download:
            page.click("#export")
        took = time.monotonic() - begun
        file = tmp_path / "answers.csv"
        download.value.save_as(file)
        with file.open(newline="") as opened:
            header, *rows = csv.reader(opened)
        assert ",".join(header) == COLUMNS
        study_id = json.loads((study / "key.json").read_text())["study"]
        name = f"'{rater}" if rater.startswith("-") else rater  # no formula, in a spreadsheet
        assert [row[:4] for row in rows] == [[study_id, name, str(n), str(c)] for n, c in enumerate(given, 1)]
        assert all(float(row[4]) >= 0 for row in rows)
        assert 0 < sum(float(row[4]) for row in rows) < took
        drawn = [number for number, trial in enumerate(trials) if trial["condition"] != "natural"]
        right = sum(given[number] == trials[number]["answer"] for number in drawn)
        outcome = score_answers(study, [file])[0]
        assert (outcome.answered, outcome.right) == (len(drawn), right)
        page.click("#restart")
        page.wait_for_selector("#welcome", state="visible")
        assert page.input_value("#rater") == ""


@pytest.mark.browser
def test_answers_are_not_lost_before_they_are_exported(study, visit):
    page = visit(study / "study")
    page.fill("#rater", "r1")
    page.keyboard.press("Enter")  # begins, as the button does
    becomes(page, lambda: page.is_visible("#question"), True)
    while page.is_visible("#question"):
        page.keyboard.press("1")
    page.click("#restart")
    page.wait_for_selector("#unsaved-warning:has-text('not exported yet')")
    assert page.is_visible("#end")
    page.focus("#restart")
    page.keyboard.press("Enter")
    becomes(page, lambda: page.evaluate("document.activeElement.id"), "rater")


REFUSALS = {
    "reading": "Object.defineProperty(window, 'localStorage', {get() {throw new DOMException('denied')}})",
    "writing": "Storage.prototype.setItem = () => {throw new DOMException('full', 'QuotaExceededError')}",
}


@pytest.mark.browser
@pytest.mark.parametrize("refusal", [None, *REFUSALS])
def test_a_rater_is_warned_by_a_browser_that_stores_no_answers(refusal, study, visit):
    page = visit(study / "study")
    if refusal is not None:
        page.add_init_script(REFUSALS[refusal])
        page.reload()
        page.wait_for_selector("body[data-ready]")
    page.click("#begin")
    page.keyboard.press("1")
    becomes(page, lambda: page.inner_text("#progress-count")[:1], "2")  # and it goes on
    warning = page.inner_text("#storage-warning")
    if refusal is None:
        assert warning == ""
    else:
        assert warning == "This browser does not store answers: export them before you close this page."
