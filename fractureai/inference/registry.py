"""The models of an installation and the networks they read with: a folder for each, with a card, loaded on first
use.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fractureai.domain.card import (
    CARD_FILE,
    NETWORK_FILE,
    Card,
    ModelCard,
    NetworkCard,
    WeightFile,
    parse_card,
    serving_files,
)
from fractureai.domain.ports import FractureModel, RegionModel
from fractureai.domain.scores import ModelIdentity
from fractureai.errors import BrokenDeployment
from fractureai.inference.engine import EngineFactory
from fractureai.inference.network import Network
from fractureai.inference.readers import FractureReader, RegionReader
from fractureai.inference.scope import load_scope

_CHUNK_BYTES = 1 << 20
_INSTALL = "Copy the models there, or leave FRACTUREAI_MODELS_DIR out."


class ModelRegistry:
    """The port ``Models`` over a folder of models.

    Safe to share between threads. Safe to build, and to ask for its cards, before a fork: nothing heavy is loaded
    before the first model is asked for. From then on a forked child refuses to work, because the threads of the
    engines do not survive a fork (OpenVINO hangs in such a child).

    Parameters
    ----------
    folder:
        Holds ``<name>/card.json`` of models and ``<name>/network.json`` of networks, with their files beside them.
    engine_factory:
        Builds the engine of one network, e.g. ``openvino_engine(threads=2)``.
    """

    def __init__(self, folder: Path, engine_factory: EngineFactory) -> None:
        self._folder = folder
        self._engine_factory = engine_factory
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._cards: dict[str, tuple[ModelCard, ModelIdentity]] | None = None
        self._readers: dict[str, RegionReader | FractureReader] = {}
        self._networks: dict[str, Network] = {}

    def region(self) -> RegionModel:
        """The region classifier. Raises ``BrokenDeployment`` if it is missing or its hash is wrong."""
        name = self._find("region", None)
        if name is None:
            raise BrokenDeployment(f"No region model in {self._folder}. {_INSTALL}")
        reader = self._reader(name)
        assert isinstance(reader, RegionReader)  # noqa: S101 - the card's task decided which reader was built
        return reader

    def fracture(self, region: str) -> FractureModel | None:
        """The model of a region; ``None`` if there is none."""
        name = self._find("fracture", region)
        reader = None if name is None else self._reader(name)
        assert reader is None or isinstance(reader, FractureReader)  # noqa: S101 - as above
        return reader

    def cards(self) -> list[tuple[ModelCard, ModelIdentity]]:
        """Every card, by name, without loading weights. Raises ``BrokenDeployment`` for a card that is not valid."""
        return list(self._known().values())

    def network(self, name: str) -> tuple[NetworkCard, str]:
        """The card of a network and its hash. Raises ``BrokenDeployment`` if it is missing or not valid."""
        return _read_card(self._folder / name / NETWORK_FILE, NetworkCard)

    def check(self) -> None:
        """Check that a region model is there and every serving file is what its card says; loads nothing.

        Raises ``BrokenDeployment`` naming what is wrong.
        """
        if self._find("region", None) is None:
            raise BrokenDeployment(f"No region model in {self._folder}. {_INSTALL}")
        networks = {}
        for name, (card, _) in self._known().items():
            networks[card.network.name], _ = self._network_card(card)
            self._check_files(name, serving_files(card.files))
        for name, network in networks.items():
            self._check_files(name, serving_files(network.files))

    def verify(self, name: str) -> None:
        """Check the files of a model and of its network, weights for training too where they are installed.

        Raises ``BrokenDeployment`` naming what is wrong.
        """
        card, _ = self._known()[name]
        network, _ = self._network_card(card)
        for folder, files in ((name, card.files), (card.network.name, network.files)):
            there = {file: entry for file, entry in files.items() if (self._folder / folder / file).exists()}
            self._check_files(folder, serving_files(files) | there)

    def _network_card(self, model: ModelCard) -> tuple[NetworkCard, str]:
        """The card of a model's network and its hash. Raises ``BrokenDeployment`` if it is another one."""
        network, digest = self.network(model.network.name)
        if digest != model.network.sha256:
            raise BrokenDeployment(
                f"Model {model.name} was made for another network {model.network.name}. Install both together."
            )
        return network, digest

    def _check_files(self, folder: str, files: Mapping[str, WeightFile]) -> None:
        for file_name, expected in files.items():
            _check(self._folder / folder, file_name, expected)

    def warm(self) -> None:
        """Load every model and run each network once, so that the first study does not wait for it."""
        for name in self._known():
            self._reader(name)
        for network in self._networks.values():
            network.read(np.zeros((32, 32), np.uint8))

    def _known(self) -> dict[str, tuple[ModelCard, ModelIdentity]]:
        self._settle_after_fork()
        with self._lock:
            if self._cards is None:
                self._cards = _read_cards(self._folder)
            return self._cards

    def _settle_after_fork(self) -> None:
        if self._process == os.getpid():
            return
        if self._readers:
            raise BrokenDeployment("models were loaded before this process was forked; load them after the fork")
        self._process = os.getpid()
        self._lock = threading.RLock()  # Another thread may have held the old one while the process was forked.

    def _find(self, task: str, region: str | None) -> str | None:
        found = [name for name, (card, _) in self._known().items() if (card.task, card.region) == (task, region)]
        if len(found) > 1:
            raise BrokenDeployment(f"several models claim the same work: {', '.join(found)}; keep one")
        return found[0] if found else None

    def _reader(self, name: str) -> RegionReader | FractureReader:
        with self._lock:
            if name not in self._readers:
                self._readers[name] = self._load(name)
            return self._readers[name]

    def _load(self, name: str) -> RegionReader | FractureReader:
        card, identity = self._known()[name]
        self._check_files(name, serving_files(card.files))
        network = self._network(card)
        if card.scope is None:
            return FractureReader(card, identity, network)
        return RegionReader(card, identity, network, load_scope(self._folder / name / card.scope.file))

    def _network(self, model: ModelCard) -> Network:
        """One in memory for all models that name it."""
        name = model.network.name
        card, digest = self._network_card(model)
        if name not in self._networks:
            self._check_files(name, serving_files(card.files))
            self._networks[name] = Network(card, digest, self._engine_factory(self._folder / name, card))
        network = self._networks[name]
        cells, localised = model.network.cells, len(network.card.localised)
        if max(model.network.logits) >= len(network.card.outputs) or (cells is not None and cells >= localised):
            raise BrokenDeployment(f"model {model.name} names outputs that network {name} does not have")
        return network


def _read_cards(folder: Path) -> dict[str, tuple[ModelCard, ModelIdentity]]:
    if not folder.is_dir():
        raise BrokenDeployment(
            f"The folder of models {folder} is missing. Copy the models there, or leave FRACTUREAI_MODELS_DIR out."
        )
    cards: dict[str, tuple[ModelCard, ModelIdentity]] = {}
    for path in sorted(folder.glob(f"*/{CARD_FILE}")):
        card, digest = _read_card(path, ModelCard)
        if card.scope is not None and card.scope.file not in card.files:
            raise BrokenDeployment(f"{path} does not vouch for its scope rule {card.scope.file!r}")
        cards[card.name] = (card, ModelIdentity(card.name, card.version, digest))
    return cards


def _read_card(path: Path, kind: type[Card]) -> tuple[Card, str]:
    try:
        card, digest = parse_card(path.read_bytes(), kind)
    except BrokenDeployment as error:
        raise BrokenDeployment(f"{path}: {error}") from error
    except OSError as error:
        raise BrokenDeployment(f"{path} cannot be read: {error.strerror}") from error
    if card.name != path.parent.name:
        raise BrokenDeployment(f"{path} is the card of {card.name!r}; folder and name must agree")
    return card, digest


def _check(folder: Path, file_name: str, expected: WeightFile) -> None:
    path = folder / file_name
    if path.name != file_name:
        raise BrokenDeployment(f"the card in {folder} names a file outside its folder: {file_name!r}")
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
    except OSError as error:
        raise BrokenDeployment(f"{path} cannot be read: {error.strerror}") from error
    if (digest.hexdigest(), size_bytes) != (expected.sha256, expected.size_bytes):
        raise BrokenDeployment(f"{path} is not the file its card vouches for (sha256 differs); install it again")
