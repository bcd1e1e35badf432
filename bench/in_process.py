"""Subject (b): the same stages in one process, over the same durable folder, without queue, ledger and web.

``python -m bench.in_process`` answers each line of standard input, a file's path, with one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import IO, Any

from bench.processes import cpu_clock_s
from fractureai.bootstrap import Deployment
from fractureai.domain import keys
from fractureai.domain.radiograph import Radiograph
from fractureai.domain.study import SourceImage, Stage, Study
from fractureai.domain.study_json import study_to_json
from fractureai.imaging.decoder import ChildDecoder
from fractureai.logs import configure_logging
from fractureai.settings import load_settings
from fractureai.stages import inline
from fractureai.stages.artifacts import write_json

_COPY_BYTES = 1 << 18


class CpuByStep:
    """Adds up processor time by step: this process and the decoding child."""

    def __init__(self, decoder: ChildDecoder) -> None:
        self._decoder = decoder
        self._step = ""
        self._since_s = 0.0
        self.spent_s: Counter[str] = Counter()

    def enter(self, step: str) -> str:
        """End the running step and begin ``step``; returns the one that ended."""
        now_s = self._clock_s()
        before, self._step = self._step, step
        if before:
            self.spent_s[before] += now_s - self._since_s
        self._since_s = now_s
        return before

    def _clock_s(self) -> float:
        child = self._decoder.child_pid
        return time.process_time() + (cpu_clock_s(child) if child else 0.0)


class MeteredDecoder:
    """The decoder, as a step of its own within ``classify``."""

    def __init__(self, decoder: ChildDecoder, cpu: CpuByStep) -> None:
        self._decoder = decoder
        self._cpu = cpu

    def decode(self, path: Path) -> Radiograph:
        """Decode, and say that this is what it is."""
        before = self._cpu.enter("decode")
        try:
            return self._decoder.decode(path)
        finally:
            self._cpu.enter(before)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decoder, name)


class MeteredDeployment(Deployment):
    """The product's own parts, with the decoder metered."""

    def meter(self) -> CpuByStep:
        """Replace the decoder by the metered one."""
        decoder = ChildDecoder()
        cpu = CpuByStep(decoder)
        self.__dict__["decoder"] = MeteredDecoder(decoder, cpu)
        return cpu


def receive(path: Path, deployment: Deployment) -> Study:
    """Bring a file into the store as one study, as the web does, without a request round it."""
    study_id, batch_id = uuid.uuid4().hex, uuid.uuid4().hex
    sink = deployment.store.sink(keys.source("local", study_id, 1))
    with path.open("rb") as stream:
        while chunk := stream.read(_COPY_BYTES):
            sink.write(chunk)
    stored = sink.commit()
    image = SourceImage(1, path.name, stored.size_bytes, stored.sha256)
    study = Study("local", study_id, batch_id, path.name, time.time(), (image,))
    write_json(deployment.store, keys.study_json(study.site, study_id), study_to_json(study))
    return study


def main(requests: IO[str], answers: IO[str]) -> None:
    """Serve until standard input ends."""
    configure_logging(level="WARNING")
    deployment = MeteredDeployment(load_settings())
    cpu = deployment.meter()
    deployment.warm("inference")
    print("ready", file=answers, flush=True)
    for line in requests:
        cpu.spent_s.clear()
        cpu.enter("receive")
        study = receive(Path(line.strip()), deployment)

        def begin(stage: Stage) -> None:
            cpu.enter(stage.value)

        result = inline.analyze(study, deployment, observe=begin)
        write_json(deployment.store, keys.result_json(study.site, study.study_id), result.to_json())
        cpu.enter("")
        complete = result.max_fracture_probability is not None
        print(json.dumps({"complete": complete, "step_cpu_s": cpu.spent_s}), file=answers, flush=True)
    deployment.decoder.close()


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
