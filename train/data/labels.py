"""Which label a source's words lead to, and what is said of words that lead nowhere."""

from collections.abc import Sequence

from edge.errors import InputError
from train.config import TrainConfig

_MOST_NAMED = 12  # words of those that are not known


class Labels:
    """Labels of a source's words. What is wrong with a word is told when all were seen, with the others like it."""

    def __init__(self, config: TrainConfig, labelled: bool) -> None:
        self._config, self._labelled = config, labelled
        self._unknown: dict[str, str] = {}  # what is wrong, by word

    def of(self, where: object, word: str) -> str | None:
        """Return the label of a word; None where the clip is left out, or the word is not known. Where clips need none,
        that of no word is none."""
        if not word and not self._labelled:
            return ""
        try:
            return self._config.label(word)
        except ValueError as error:
            self._unknown.setdefault(word.strip().lower(), f"{where}: {error}")
            return None

    def require_known(self) -> None:
        """Raise InputError where a word was not known."""
        if self._unknown:
            others = [repr(word) for word in list(self._unknown)[1:] if word]
            more = f" (and {len(others) - _MOST_NAMED} more)" if len(others) > _MOST_NAMED else ""
            likewise = f"; likewise {', '.join(others[:_MOST_NAMED])}{more}" if others else ""
            raise InputError(next(iter(self._unknown.values())) + likewise)


class JudgedLabels(Labels):
    """Labels for a model that knows its own: other words stay what they are."""

    def __init__(self, config: TrainConfig, labels: Sequence[str]) -> None:
        super().__init__(config, labelled=True)
        self._labels = labels

    def of(self, where: object, word: str) -> str:
        plain = word.strip().lower()
        return plain if plain in self._labels else super().of(where, word) or word

    def require_known(self) -> None:
        """Require nothing."""
