"""What the doctor finds: a line, what helps, and how bad it is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at and found. `remedy` is empty where all is well; `exit_status` is that of a failure, else 0."""

    subject: str
    words: str
    remedy: str = ""
    exit_status: int = 0

    def __str__(self) -> str:
        mark = "FAIL" if self.exit_status else "warn" if self.remedy else "ok"
        return f"{mark:<5} {self.subject}: {self.words}{f': {self.remedy}' if self.remedy else ''}"
