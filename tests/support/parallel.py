"""How `make test` shares the tests out among processes (pytest-xdist).

Tests of a file that shares something for as long as its module lasts (a network trained once, a browser, a server) stay
together in one process, as do those of a file that says so with `pytest.mark.xdist_group`; those of a class in such a
file stay together, but not with the others; any other test goes wherever there is room. Ports are asked for so that
each process gets its own: see `free_port` in broker.py.
"""

import os
import re
from functools import cache
from pathlib import Path

import psutil
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.support.quick import is_quick

# While some wait for a broker, a page or a microphone, others compute.
_WORKERS_PER_CORE = 2
_MOST_WORKERS = 16
_BYTES_PER_WORKER = 2 * 2**30  # one that has loaded TensorFlow, and a child that has
_SHARED = re.compile(r"scope=\"(module|session)\"|\b(chromium|visit|xdist_group)\b")


def workers(*, waiting: bool) -> int:
    """Return how many processes are worth it here and fit into the memory; `waiting`: if the tests wait a lot."""
    worth = len(os.sched_getaffinity(0)) * (_WORKERS_PER_CORE if waiting else 1)
    return max(1, min(worth, _MOST_WORKERS, psutil.virtual_memory().available // _BYTES_PER_WORKER))


class Sharing(LoadScopeScheduling):
    """Hands out the files that share something first, the largest before others, then test by test.

    Those of the quick half come last: at the end, no process is left alone with one that waits for a minute.

    A test that its process dies of has failed, is run again where a failed one is, and holds up none of the others. The
    class above hands out again what the dead one had done, and then waits for that without end.
    """

    def schedule(self) -> None:
        begins = self.collection is None
        super().schedule()
        if not begins:
            super().schedule()  # a process begins its first test when it knows the next
        else:
            for scope in list(self.workqueue):
                file, alone, _ = scope.partition("::")
                if alone and is_quick(self.config.rootpath / file):
                    self.workqueue.move_to_end(scope)

    def remove_node(self, node: WorkerController) -> str | None:
        """Take back what a process that has ended left undone; return the test that it died of, if of any."""
        undone = {
            scope: {test: False for test, done in tests.items() if not done}
            for scope, tests in self.assigned_work.pop(node).items()
        }
        died_of = next((test for tests in undone.values() for test in tests), None)
        if died_of is not None:
            del undone[self._split_scope(died_of)][died_of]
        self.workqueue.update((scope, tests) for scope, tests in undone.items() if tests)
        return died_of

    def mark_test_pending(self, item: str) -> None:
        """Hand out again what a process has died of, before the others of its file: they may need what it shares."""
        scope = self._split_scope(item)
        self.workqueue[scope] = {item: False, **self.workqueue.get(scope, {})}

    def _reschedule(self, node: WorkerController) -> None:
        if node in self.registered_collections:  # one that takes another's place is asked before it knows the tests
            super()._reschedule(node)

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid.partition("[")[0].rpartition("::")[0] if _shares(self.config.rootpath / file) else nodeid


@cache
def _shares(file: Path) -> bool:
    return _SHARED.search(file.read_text()) is not None
