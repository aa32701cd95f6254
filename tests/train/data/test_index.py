"""Tables and folders of clips, good and bad: every mistake is one line that names it."""

import csv
import re
import shutil
from contextlib import suppress
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from edge.errors import InputError
from tests.support.lab import write_config
from tests.support.sounds import chirp
from tests.support.tiny_corpus import write_corpus
from train.__main__ import _parser, main
from train.config import TrainConfig
from train.data import index, table
from train.data.clip import Clip
from train.networks import registry
from train.pages import index_report
from train.study.protocols import NAMES, splits

CONFIG = TrainConfig()


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path, words=("back", "dog"), seconds=0.2)


def scanned(*data: Path) -> index.Index:
    return index.scan(data, CONFIG)


def test_a_known_corpus(corpus):
    found = scanned(corpus)
    assert len(found.clips) == 2 * 7 * 2
    clip = next(clip for clip in found.clips if "YAF_dog_ps" in clip.path)
    assert (clip.corpus, clip.speaker, clip.label, clip.text) == ("TESS", "YAF", "surprise", "dog")
    assert (clip.duration_s, clip.rate_hz, len(clip.sha256)) == (0.2, 16_000, 64)


def test_a_folder_per_label_with_and_without_speakers(tmp_path, corpus):
    own = tmp_path / "mine"
    for place in ("happy", "Sadness/anna"):
        (own / place).mkdir(parents=True)
    shutil.copy(next(corpus.rglob("*happy.wav")), own / "happy" / "one.wav")
    shutil.copy(next(corpus.rglob("*sad.wav")), own / "Sadness" / "anna" / "two.wav")
    found = {(clip.corpus, clip.label, clip.speaker) for clip in scanned(own).clips}
    assert found == {("mine", "happy", ""), ("mine", "sad", "anna")}


def test_the_table_reads_back_what_was_written(tmp_path, corpus):
    clips = scanned(corpus).clips
    table.write(tmp_path / "index.csv", clips)
    assert scanned(tmp_path / "index.csv").clips == clips


def test_a_table_of_one_s_own_with_paths_beside_it(tmp_path, corpus):
    table = tmp_path / "own.csv"
    table.write_text("path,label,speaker\nTESS/OAF_sad/OAF_dog_sad.wav,joy,me\n")
    (clip,) = scanned(table).clips
    assert (clip.corpus, clip.speaker, clip.label) == ("own", "me", "happy")


def corrupt(path: Path) -> None:
    path.write_text("not sound at all")


def test_bad_files_are_named_and_the_rest_is_used(corpus):
    corrupt(corpus / "OAF_sad" / "OAF_dog_sad.wav")
    soundfile.write(corpus / "OAF_sad" / "OAF_back_sad.wav", np.zeros(0, np.float32), 16_000)
    found = scanned(corpus)
    assert len(found.clips) == 26
    assert [Path(one.path).name for one in found.left_out] == ["OAF_back_sad.wav", "OAF_dog_sad.wav"]
    assert "empty" in found.left_out[0].why
    assert "not a readable sound file" in found.left_out[1].why


def test_what_is_there_only_in_part_is_used_and_said(corpus):
    whole = scanned(corpus)
    assert whole.in_part == []
    path = corpus / "OAF_sad" / "OAF_dog_sad.wav"
    path.write_bytes(path.read_bytes()[:-1_000])
    found = scanned(corpus)
    assert len(found.clips) == len(whole.clips)
    (line,) = [line for line in found.remarks(TrainConfig()) if "in part" in line]
    assert line.startswith(f"heard in part: {path}: cut short (")


def no_audio(folder: Path) -> list[str]:
    (folder / "notes").mkdir()
    (folder / "notes" / "readme.txt").write_text("hello")
    return [str(folder / "notes")]


def missing(folder: Path) -> list[str]:
    return [str(folder / "nowhere")]


def unknown_scheme(folder: Path) -> list[str]:
    (folder / "TESS" / "x").mkdir()
    shutil.copy(folder / "TESS" / "OAF_sad" / "OAF_dog_sad.wav", folder / "TESS" / "x" / "take 1.wav")
    return [str(folder / "TESS")]


def table_without_label(folder: Path) -> list[str]:
    (folder / "t.csv").write_text("path,speaker\na.wav,me\n")
    return [str(folder / "t.csv")]


def table_with_unknown_label(folder: Path) -> list[str]:
    (folder / "t.csv").write_text("path,label,speaker\na.wav,bewildered,me\n")
    return [str(folder / "t.csv")]


def table_of_many_unknown_labels(folder: Path) -> list[str]:
    rows = "".join(f"{word}.wav,{word},me\n" for word in ("bewildered", "sad", "amused", "Bewildered", "awed"))
    (folder / "t.csv").write_text(f"path,label,speaker\n{rows}")
    return [str(folder / "t.csv")]


def table_of_missing_files(folder: Path) -> list[str]:
    (folder / "t.csv").write_text("path,label,speaker\na.wav,sad,me\n")
    return [str(folder / "t.csv")]


def binary_table(folder: Path) -> list[str]:
    (folder / "t.csv").write_bytes(b"\xff\xfe\x00\x01")
    return [str(folder / "t.csv")]


def label_with_one_clip(folder: Path) -> list[str]:
    for path in sorted((folder / "TESS").rglob("*_sad.wav"))[1:]:
        path.unlink()
    return [str(folder / "TESS")]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_audio, "notes: no sound files in it"),
        (missing, "nowhere: no such folder or table"),
        (unknown_scheme, "1 of 29 file names fit no known corpus"),
        (table_without_label, "t.csv: column label is missing"),
        (table_with_unknown_label, "t.csv:2: label 'bewildered' is neither one of"),
        (table_of_many_unknown_labels, "bewildered: null to leave such clips out; likewise 'amused', 'awed'"),
        (table_of_missing_files, "a.wav: cannot be opened (No such file or directory)"),
        (binary_table, "t.csv: not a CSV table in UTF-8"),
        (label_with_one_clip, "label 'sad' has 1 clip, a"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_bad_data_is_one_line(tmp_path, corpus, monkeypatch, capfd, make, message):
    data = make(tmp_path)
    config = Path("config.yaml").resolve()
    monkeypatch.chdir(tmp_path)
    status = main(["fit", "--network", "cnn", "--config", str(config), "--data", *data])
    lines = [line for line in capfd.readouterr().err.splitlines() if not line.startswith(("listening", "features"))]
    assert status == 66
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_a_recipe_that_one_s_own_file_has_not_is_told_where_recipes_come_from(tmp_path, corpus, capfd):
    config = write_config(tmp_path, recipes={"study": {}})
    options = ["fit", "--data", str(corpus), "--config", str(config), "--out", str(tmp_path / "runs")]
    assert main([*options, "--recipe", "default"]) == 78
    (line,) = capfd.readouterr().err.splitlines()
    assert line == (
        "error: train.recipes: no recipe 'default' (there are study); recipes come from the file that --config names: "
        "to have the usual ones there, begin with a copy of config.yaml"
    )


def test_every_word_that_leads_nowhere_is_told_at_once(tmp_path, corpus):
    config = TrainConfig(labels=("calm", "tense"), words={"neutral": "calm", "angry": "tense", "sad": None})
    with pytest.raises(InputError, match=r"_disgust.wav: label 'disgust' .*; likewise 'fear', 'happy', 'ps'$"):
        index.scan([corpus], config)


def test_a_network_without_sizes_is_said_before_anything_is_heard(tmp_path, corpus, capfd, monkeypatch):
    monkeypatch.setattr(registry, "NAMES", (*registry.NAMES, "tiny"))  # half added
    options = ["--data", str(corpus), "--config", str(write_config(tmp_path)), "--out", str(tmp_path / "runs")]
    for words in (["compare", "--networks", "cnn", "tiny"], ["fit", "--network", "tiny"]):
        assert main([*words, *options]) == 78
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("error: no network 'tiny' has sizes (there are ann, cnn")
        assert line.endswith("a new one has them in Networks of train/sizes.py and under train.networks of config.yaml")


def test_a_comparison_of_what_hears_no_emotions_is_said_before_anything_is_heard(tmp_path, corpus, capfd):
    config = write_config(tmp_path, compare={"networks": ["ann", "speech"]})
    assert main(["compare", "--data", str(corpus), "--config", str(config), "--out", str(tmp_path / "runs")]) == 78
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: train.compare.networks: no network 'speech' (there are gru, ")


@pytest.mark.parametrize("words", [
    ["index", "x"], ["fit", "--data", "x"], ["speech", "--data", "x"], ["evaluate", "x", "--index", "x"],
    ["compare", "--data", "x"], ["strangers", "--data", "x"], ["rooms", "--data", "x"], ["tune", "--data", "x"],
], ids=lambda words: words[0])  # fmt: skip
def test_a_configuration_is_named_before_the_verb_or_after_it(words):
    own = ["--config", "own.yaml"]
    orders = [*own, *words], [*words, *own], words
    assert [_parser().parse_args(order).config for order in orders] == ["own.yaml", "own.yaml", "config.yaml"]


def test_a_fit_without_a_network_s_name_trains_the_cnn_and_says_what_guessing_gives(tmp_path, corpus, capfd):
    options = ["fit", "--data", str(corpus), "--config", str(write_config(tmp_path)), "--out", str(tmp_path / "runs")]
    assert main([*options, "--epochs", "1"]) == 0, capfd.readouterr().err
    first, few, whose, page = capfd.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path}/runs/cnn-random-0-seed0: test accuracy ")
    number, bounds = r"[01]\.\d{4}", r"[01]\.\d{3} to [01]\.\d{3}"
    assert re.search(
        rf"accuracy {number} \({bounds}; always the same label: 0\.1429\), UAR {number} \({bounds}; guessing: "
        r"0\.1429\); fold 0; of the last 24 frames of each clip, silence at its ends included$", first
    )  # fmt: skip
    assert few == (
        "  TOO FEW test clips to tell how good it is: with 7 of them an accuracy is up to 37 points off by chance "
        "alone (95 %)"
    )
    assert whose.startswith("  Its voices are those of the training side, so this says nothing of a voice that it")
    assert whose.endswith("; --protocol kfold tests such voices.")
    assert page == f"{tmp_path}/runs/cnn-random-0-seed0/report.html"


@pytest.mark.parametrize(("protocol", "there"), [("kfold", "there are 2: 0 to 1"), ("random", "there is one: 0")])
def test_a_fold_that_is_not_there_is_told_which_are(tmp_path, corpus, capfd, protocol, there):
    options = ["fit", "--data", str(corpus), "--config", str(write_config(tmp_path)), "--out", str(tmp_path / "runs")]
    assert main([*options, "--protocol", protocol, "--fold", "9"]) == 66
    assert capfd.readouterr().err.splitlines()[-1] == f"error: protocol {protocol}: no fold 9 ({there})"


@pytest.mark.parametrize(
    ("verb", "options", "message"),
    [
        ("fit", ["--fold", "9"], "no fold 9"),
        ("tune", ["--fold", "9"], "no fold 9"),
        ("fit", ["--name", "one"], "--name: protocol kfold has 2 folds here; give a --fold too"),
        ("fit", ["--recipe", "chosen"], "chooses on the validation side, which protocol kfold, fold 0 lacks"),
        ("compare", ["--recipe", "chosen"], "chooses on the validation side, which protocol kfold, fold 0 lacks"),
        ("tune", [], "protocol kfold, fold 0: has no validation side to judge trials by"),
    ],
)
def test_what_cannot_be_trained_is_said_before_features_are_made(tmp_path, corpus, capfd, verb, options, message):
    config = write_config(tmp_path, recipes={"study": {}, "chosen": {"choose": "validation"}})
    words = ["--protocol", "kfold", "--data", str(corpus), "--config", str(config), "--out", str(tmp_path / "runs")]
    assert main([verb, *words, *options]) == 66
    said = capfd.readouterr().err
    assert message in said.splitlines()[-1]
    assert "features" not in said


def test_that_nobody_validates_is_said(tmp_path, corpus, capfd):
    """Of two speakers one trains: whoever expects a validation curve is told before it begins."""
    words = ["--network", "ann", "--epochs", "1", "--protocol", "kfold", "--config", str(write_config(tmp_path))]
    assert main(["fit", *words, "--data", str(corpus), "--out", str(tmp_path / "runs")]) == 0
    said = capfd.readouterr().err
    assert "warning: protocol kfold, fold 0 and 1 more: fewer than three speakers train, so none validates: " in said
    words[words.index("kfold")] = "random"
    assert main(["fit", *words, "--data", str(corpus), "--out", str(tmp_path / "runs")]) == 0
    assert "validates" not in capfd.readouterr().err


def test_a_label_s_folder_that_is_misspelt_is_named_with_the_label_that_was_meant(tmp_path, corpus):
    for name, said in (("agnry", ": folder agnry: did you mean angry?; "), ("zebra", "); name your labels")):
        folder = tmp_path / name / name / "anna"
        folder.mkdir(parents=True)
        shutil.copy(next(corpus.rglob("*.wav")), folder / "x.wav")
        with pytest.raises(InputError) as refused:
            index.scan([tmp_path / name], TrainConfig())
        assert said in str(refused.value)
    (tmp_path / "t.csv").write_text(f"path,label\n{next(corpus.rglob('*.wav'))},suprise\n")
    with pytest.raises(InputError, match=r"label 'suprise' is neither one .* \(did you mean surprise\?\): write"):
        index.scan([tmp_path / "t.csv"], TrainConfig())


def test_every_corpus_has_an_index_of_its_own(tmp_path, corpus, capfd, monkeypatch):
    config = write_config(tmp_path)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(corpus, tmp_path / "mine")
    for words in (["TESS"], ["--data", "mine/"], ["TESS", "mine"]):
        assert main(["index", *words, "--config", str(config)]) == 0
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"index-tess", "index-mine", "index-tess-mine"}
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["index"])
    assert ended.value.code == 64
    assert "name folders of sound, or CSVs: index DATA..." in capfd.readouterr().err


def test_noise_that_is_not_there_is_said_before_features_are_made(tmp_path, corpus, capfd):
    noise = tmp_path / "nowhere"
    options = ["fit", "--network", "cnn", "--data", str(corpus), "--noise", str(noise), "--out", str(tmp_path / "runs")]
    assert main(options) == 66
    assert capfd.readouterr().err.splitlines()[-1] == f"error: {noise}: no such folder of noise recordings"


@pytest.mark.parametrize(("verb", "option"), [("compare", "--jobs"), ("tune", "--trials")])
def test_there_is_one_training_at_least(tmp_path, corpus, capfd, verb, option):
    with pytest.raises(SystemExit) as ended:
        main([verb, *(["--network", "ann"] if verb == "tune" else []), "--data", str(corpus), option, "0"])
    assert ended.value.code == 64
    assert "expected 1 or more, not '0'" in capfd.readouterr().err.splitlines()[-1]


def test_noise_of_the_fifth_fold_alone_is_no_fault_where_no_training_hears_noise(tmp_path, corpus, capfd):
    noise = tmp_path / "noise"
    noise.mkdir()
    shutil.copy(next(corpus.rglob("*.wav")), noise / "5-rain.wav")
    config = write_config(tmp_path)
    options = ["--network", "ann", "--epochs", "1", "--config", str(config), "--out", str(tmp_path / "runs")]
    (noise / "5-bad.wav").write_text("no sound")
    assert main(["fit", *options, "--data", str(corpus), "--noise", str(noise)]) == 0, capfd.readouterr().err
    said = capfd.readouterr().err.splitlines()
    (warning,) = [line for line in said if line.startswith("warning: ")]
    assert warning.startswith(f"warning: noise left out: {noise}/5-bad.wav: not a readable sound file")
    assert said.index(warning) < next(number for number, line in enumerate(said) if line.startswith("features"))


@pytest.mark.parametrize("epochs", ["0", "-1", "few"])
def test_epochs_are_one_or_more(tmp_path, corpus, capfd, epochs):
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--network", "cnn", "--data", str(corpus), "--epochs", epochs])
    assert ended.value.code == 64
    assert f"expected 1 or more, not '{epochs}'" in capfd.readouterr().err.splitlines()[-1]


def test_the_report_names_what_is_wrong(tmp_path, corpus, capsys):
    corrupt(corpus / "OAF_sad" / "OAF_dog_sad.wav")
    soundfile.write(corpus / "OAF_sad" / "OAF_back_sad.wav", np.full(3_200, 1e-5), 16_000)
    loud = np.sign(np.sin(np.arange(3_200) / 9.0))
    soundfile.write(corpus / "YAF_fear" / "YAF_dog_fear.wav", loud, 16_000)
    shutil.copy(corpus / "YAF_fear" / "YAF_back_fear.wav", corpus / "YAF_fear" / "YAF_week_fear.wav")
    config = msgspec.structs.replace(CONFIG, cache=str(tmp_path / "cache"))
    found = index.scan([corpus], config)
    findings = index_report.examine(found, config.cache)
    assert [line.split(": ")[0][-15:] for line in findings.unreadable] == ["OAF_dog_sad.wav"]
    assert [path[-16:] for path in findings.silent] == ["OAF_back_sad.wav"]
    assert [path[-16:] for path in findings.clipped] == ["YAF_dog_fear.wav"]
    assert [sorted(path[-10:] for path in same) for same in findings.duplicates] == [["k_fear.wav", "k_fear.wav"]]
    assert findings.single == ["sad of TESS"] if findings.labels["TESS"]["sad"] == 1 else not findings.single
    assert main(["index", str(corpus), "--out", str(tmp_path / "out")]) == 0
    printed = "".join(capsys.readouterr())
    for name in ("OAF_dog_sad.wav", "OAF_back_sad.wav", "YAF_dog_fear.wav", "YAF_week_fear.wav"):
        assert name in printed
    with open(tmp_path / "out" / "index.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 27
    assert (tmp_path / "out" / "report.html").read_text().count("data:image/png;base64,") == 7


def test_a_folder_with_an_index_of_its_own_is_read_by_it(tmp_path, corpus):
    """File names that fit no scheme, and speakers and corpora that only the table knows."""
    own = tmp_path / "voices"
    own.mkdir()
    for number, source in enumerate(sorted(corpus.rglob("*happy.wav"))[:2]):
        shutil.copy(source, own / f"{number}.wav")
    (own / "index.csv").write_text("path,label,speaker,corpus,text\n0.wav,happy,a,one,hello\n1.wav,sad,b,two,\n")
    found = {(clip.corpus, clip.label, clip.speaker, clip.text) for clip in scanned(own).clips}
    assert found == {("one", "happy", "a", "hello"), ("two", "sad", "b", "")}
    (own / "index.csv").write_text("path,label\n0.wav,happy\n1.wav,sad\n")
    assert {clip.corpus for given in (own, own / "index.csv") for clip in scanned(given).clips} == {"voices"}


def test_voices_without_labels_are_for_those_who_ask(tmp_path, corpus):
    own = tmp_path / "voices"
    own.mkdir()
    soundfile.write(own / "0.wav", chirp(seconds=1, seed=99), 16_000)
    (own / "index.csv").write_text("path,speaker,corpus\n0.wav,a,readers\n")
    with pytest.raises(InputError, match="column label is missing"):
        scanned(own)
    (clip,) = index.scan([own], CONFIG, labelled=False).clips
    assert (clip.corpus, clip.label, clip.speaker) == ("readers", "", "a")
    both = index.scan([own, corpus], CONFIG, labelled=False).clips
    assert {clip.label for clip in both} > {"", "happy", "sad"}


@pytest.mark.parametrize("texts", [("a", "b", "c"), ("a", "b", "a"), ("a", "b", "c", ""), ("",)])
def test_protocols_are_said_to_remain_where_they_do(texts):
    """Of voices that nobody knows."""
    clips = [
        Clip(path=f"{number}.wav", corpus="t", speaker="", label=label, text=text)
        for number, (text, label) in enumerate(product(texts, ("happy", "sad")))
    ]
    (line, _) = index.Index(clips=clips).remarks(CONFIG)
    remaining = set()
    for protocol in set(NAMES) - {"random", "speech"}:  # random needs more clips, speech is the gate's
        with suppress(InputError):
            splits(protocol, clips, CONFIG)
            remaining.add(protocol)
    assert remaining == ({"word"} if len(set(texts) - {""}) == len(set(texts)) == 3 else set())
    assert ("protocols random and word remain" if remaining else "only the protocol random remains") in line


def test_one_is_one(tmp_path, capsys):
    own = tmp_path / "mine"
    for place in ("happy", "sad"):
        (own / place).mkdir(parents=True)
        soundfile.write(own / place / "a.wav", chirp(seconds=1, seed=len(place)), 16_000)
    soundfile.write(own / "sad" / "b.wav", chirp(seconds=1, seed=9), 16_000)
    assert main(["index", str(own), "--config", str(write_config(tmp_path)), "--out", str(tmp_path / "index")]) == 0
    said = capsys.readouterr()
    assert "a label with one clip only: happy of mine" in said.out
    (own / "sad" / "a.wav").unlink()
    (own / "sad" / "b.wav").unlink()
    assert main(["index", str(own), "--config", str(write_config(tmp_path)), "--out", str(tmp_path / "index")]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("1 clip, ")
    assert "mine: 1 clip without a speaker" in said.err
    assert "warning: every clip is happy: there is nothing to tell apart; training needs two labels\n" in said.err
    assert "<title>roomtone: 1 clip</title>" in (tmp_path / "index" / "report.html").read_text()
