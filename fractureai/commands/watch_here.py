"""The watched folder, read in this process without a service. Results are named by what they are made of, so a round
that was killed is done again with the same outcome.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from fractureai.bootstrap import Deployment
from fractureai.client import Sorting
from fractureai.commands.analyze import export, settings_for_folder, unpack
from fractureai.commands.watch_folder import MEMORY, Inbox, read_memory, sha256_of, write_whole
from fractureai.domain.study import WorkState
from fractureai.stages import inline


class WatchHere:
    """The work on one watched folder."""

    def __init__(self, inbox: Inbox, sorting: Sorting, out_dir: Path, tell: Callable[[str], None]) -> None:
        self._inbox = inbox
        self._sorting = sorting
        self._out_dir = out_dir
        self._tell = tell

    def round(self, now_s: float) -> bool:
        """Look once and read what is complete; returns whether anything is still being written."""
        self._move()
        entries, unsettled = self._inbox.complete(now_s, taken=set())
        if entries:
            names = [name for entry in entries for name in entry.files]
            self._tell(f"reading {len(names)} files")
            reasons = self._read(names)
            outcome = {name: reasons.get(name) for name in names}
            # From here on a kill only leaves files to be moved.
            write_whole(self._memory, json.dumps(outcome, ensure_ascii=False).encode())
            self._move()
        return unsettled or bool(entries)

    @property
    def _memory(self) -> Path:
        return self._inbox.root / MEMORY / "read.json"

    def _move(self) -> None:
        """Move what was read; may be cut off and done again."""
        outcome = read_memory(self._memory) or {}
        for name, reason in outcome.items():
            if reason is None:
                self._inbox.finish(name)
            else:
                self._inbox.reject(name, reason)
                self._tell(f"rejected {name}: {reason}")
        for entry in {name.split("/", 1)[0] for name in outcome}:
            self._inbox.clear(entry)
        self._memory.unlink(missing_ok=True)

    def _read(self, names: list[str]) -> dict[str, str]:
        """Leave reports and pictures; returns the files nobody could read, with the sentence why."""
        reasons: dict[str, str] = {}
        with tempfile.TemporaryDirectory(prefix="fractureai-") as folder:
            deployment = Deployment(settings_for_folder(Path(folder), dicom=True))
            try:
                files = [(name, self._inbox.root / name) for name in names]
                studies, refused = unpack(files, deployment, self._sorting)
                names_of = {sha256_of(path): name for name, path in files}
                reasons |= {name: reason.sentence for name, reason in refused if reason.code != "duplicate_file"}
                for study in studies:
                    result = inline.analyze(study, deployment, among=studies)
                    export(study, result, deployment.store, self._out_dir)
                    if result.state is not WorkState.DONE:
                        for source, image in zip(study.images, result.images, strict=True):
                            sentences = " ".join(reason.sentence for reason in image.finding.reasons)
                            reasons[names_of.get(source.sha256, source.file_name)] = sentences
            finally:
                deployment.decoder.close()
        return reasons
