"""What may be taught, what is refused, and that forgetting gives the model's own answers back."""

import numpy as np
import pytest

from edge.lessons import teacher as module
from edge.lessons.lesson import MOST_LESSONS
from edge.lessons.teacher import ALL, LAST, LAST_S, RefusedError, Teacher
from tests.support.lessons import LABELS, book_at, embedding_of, lesson, probs_of

PROBS = probs_of(4, 3, 3)


@pytest.fixture
def fitted() -> list:
    return []


@pytest.fixture
def teacher(tmp_path, fitted) -> Teacher:
    return Teacher(book_at(tmp_path / "lessons" / "model-1.json"), LABELS, fitted.append)


def hear(teacher: Teacher, event_id: str, label: str, seed: int = 0) -> None:
    teacher.said(event_id, 0.0, embedding_of(label, seed), PROBS)
    teacher.ended(embedding_of(label, seed), PROBS)


def taught(teacher: Teacher, rounds: int) -> None:
    for number in range(rounds):
        for label in LABELS:
            hear(teacher, f"{label}-{number}", label, 10 * number + LABELS.index(label))
            teacher.teach(f"{label}-{number}", label)


def test_what_is_taught_changes_answers_and_forgetting_gives_them_back_bit_for_bit(teacher, fitted):
    assert not fitted[-1].in_use
    assert fitted[-1].answer(embedding_of("sad", 9), PROBS) is PROBS
    taught(teacher, 4)
    layer = fitted[-1]
    assert layer.in_use
    assert layer.after.right > layer.before.right
    assert layer.after.chance > layer.before.chance
    assert layer.per_label == {"angry": 4, "happy": 4, "sad": 4}
    answer = layer.answer(embedding_of("sad", 99), PROBS)
    assert LABELS[answer.argmax()] == "sad"
    assert answer.sum() == pytest.approx(1.0, abs=1e-5)
    teacher.forget(ALL)
    assert fitted[-1].answer(embedding_of("sad", 99), PROBS) is PROBS
    assert teacher.lessons == ()


def test_the_last_is_the_last_that_somebody_said_and_not_long_ago(teacher, monkeypatch):
    with pytest.raises(RefusedError, match="nobody was heard"):
        teacher.teach(LAST, "sad")
    hear(teacher, "a", "sad")
    hear(teacher, "b", "happy")
    assert teacher.teach(LAST, "sad")[0].event_id == "b"
    later = module.time.monotonic() + LAST_S + 1
    monkeypatch.setattr(module.time, "monotonic", lambda: later)
    with pytest.raises(RefusedError, match="nobody was heard"):
        teacher.teach(LAST, "sad")
    assert teacher.teach("a", "sad")[0].event_id == "a", "by its name it is meant, however long ago"


@pytest.mark.parametrize(
    ("event_id", "label", "says"),
    [
        ("a", "merry", "no label of the model, which are angry, happy, sad"),
        ("a", "unknown", "no label of the model"),
        ("z", "sad", "not among the last 500"),
        ("", "sad", "not among"),
    ],
)
def test_what_is_no_event_and_no_label_is_refused(teacher, event_id, label, says):
    hear(teacher, "a", "sad")
    with pytest.raises(RefusedError, match=says):
        teacher.teach(event_id, label)
    assert teacher.lessons == ()


def test_an_utterance_teaches_once_and_the_later_word_counts(teacher):
    teacher.said("a", 0.0, embedding_of("sad", 0), PROBS)
    teacher.said("b", 0.0, embedding_of("sad", 1), PROBS)
    teacher.ended(embedding_of("sad", 2), PROBS)
    assert teacher.teach("a", "happy")[1] is None
    assert teacher.teach("a", "angry")[1] is None  # the same change: nobody else's place
    assert teacher.teach("b", "sad")[1] == "angry"
    assert [(each.event_id, each.label) for each in teacher.lessons] == [("b", "sad")]


def test_a_lesson_is_corrected_after_a_restart_too(tmp_path, teacher):
    hear(teacher, "a", "sad")
    teacher.teach("a", "happy")
    again = Teacher(book_at(tmp_path / "lessons" / "model-1.json"), LABELS, lambda layer: None)
    again.teach("a", "sad")
    assert [(each.event_id, each.label) for each in again.lessons] == [("a", "sad")]
    assert (again.lessons[0].embedding == teacher.lessons[0].embedding).all()


def test_lessons_are_forgotten_one_by_one(teacher):
    taught(teacher, 2)
    teacher.forget("happy-0")
    teacher.forget(LAST)
    assert [each.event_id for each in teacher.lessons] == ["angry-0", "sad-0", "angry-1", "happy-1"]
    with pytest.raises(RefusedError, match="no such lesson"):
        teacher.forget("happy-0")


def test_what_another_process_taught_is_noticed(tmp_path, teacher, fitted):
    assert not teacher.look()
    book_at(tmp_path / "lessons" / "model-1.json").add([lesson("typed", "sad")])
    assert teacher.look()
    assert fitted[-1].per_label == {"sad": 1}


def test_a_folder_that_cannot_be_written_is_said_and_nothing_changes(tmp_path, fitted, caplog):
    (tmp_path / "file").write_text("")
    teacher = Teacher(book_at(tmp_path / "file" / "model-1.json"), LABELS, fitted.append)
    hear(teacher, "a", "sad")
    with pytest.raises(RefusedError, match=r"cannot be kept: .*file/model-1.json: "):
        teacher.teach("a", "sad")
    assert teacher.lessons == ()
    assert "model-1.json" in teacher.problem
    assert fitted[-1].per_label == {}


def test_a_full_book_refuses(tmp_path, fitted):
    book = book_at(tmp_path / "model-1.json")
    book.add([lesson(str(number), LABELS[number % 3], seed=number) for number in range(MOST_LESSONS)])
    teacher = Teacher(book, LABELS, fitted.append)
    hear(teacher, "a", "sad")
    with pytest.raises(RefusedError, match="1000 lessons already: forget some"):
        teacher.teach("a", "sad")


def test_another_models_lessons_are_said_to_be_kept(tmp_path, caplog):
    book_at(tmp_path / "model-1.json").add([lesson("a")])
    Teacher(book_at(tmp_path / "model-2.json", model="model-2"), LABELS, lambda layer: None)
    assert "model-2 has not been taught; lessons of other models are kept for them: 1 of model-1" in caplog.text


def test_without_a_folder_lessons_are_kept_in_memory(fitted):
    teacher = Teacher(book_at(None), LABELS, fitted.append)
    taught(teacher, 1)
    assert len(teacher.lessons) == 3
    assert not teacher.look()
    teacher.end()


def test_embeddings_beyond_float16_are_kept_within_it(teacher):
    wild = np.array([1e9, -1e9, np.nan, np.inf, 1, 2, 3, 4], np.float32)
    teacher.said("a", 0.0, wild, np.array([1.0, 0.0, 0.0], np.float32))
    kept, _ = teacher.teach("a", "sad")
    assert np.isfinite(kept.embedding).all()
    assert np.isfinite(kept.log_probs).all()
