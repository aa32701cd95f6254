"""What was heard, by the ids of its events: bounded, and each event with as much of the utterance as its label held."""

from edge.lessons.lesson import as_half, as_log
from edge.lessons.memory import MOST_HEARD, Memory
from tests.support.lessons import embedding_of, probs_of

PROBS = probs_of(1, 2, 3)


def test_an_event_has_the_utterance_up_to_the_next_change_or_the_end():
    memory = Memory()
    parts = [embedding_of("happy", seed) for seed in range(3)]
    memory.begin("a", 0.0, parts[0], PROBS)
    assert (memory.find("a").embedding == as_half(parts[0])).all(), "it can be taught while somebody still speaks"
    memory.begin("b", 0.0, parts[1], PROBS)
    memory.end(parts[2], PROBS)
    assert (memory.find("a").embedding == as_half(parts[1])).all()
    assert (memory.find("b").embedding == as_half(parts[2])).all()
    assert (memory.find("b").log_probs == as_log(PROBS)).all()
    assert memory.last().event_id == "b"
    assert memory.beside(memory.find("a")) == {"a", "b"}


def test_the_next_utterance_changes_nothing_of_the_last():
    memory = Memory()
    memory.begin("a", 0.0, embedding_of("happy", 0), PROBS)
    memory.end(embedding_of("happy", 1), PROBS)
    memory.end(embedding_of("sad", 2), PROBS)  # one that had no event of its own
    memory.begin("b", 0.0, embedding_of("sad", 3), PROBS)
    assert (memory.find("a").embedding == as_half(embedding_of("happy", 1))).all()
    assert memory.beside(memory.find("b")) == {"b"}


def test_it_remembers_the_last_five_hundred():
    memory = Memory()
    for number in range(MOST_HEARD + 3):
        memory.begin(str(number), 0.0, embedding_of("happy", number), PROBS)
    assert memory.find("2") is None
    assert memory.find("3").event_id == "3"
    assert memory.last().event_id == str(MOST_HEARD + 2)


def test_nothing_was_heard_yet():
    assert Memory().last() is None
    assert Memory().find("a") is None


def test_a_change_is_known_by_its_time_too():
    memory = Memory()
    for number in range(3):
        memory.begin(str(number), 100.0 + number, embedding_of("happy", number), PROBS)
    assert memory.at(101.02).event_id == "1"
    assert memory.at(101.5) is None
    assert Memory().at(0.0) is None
