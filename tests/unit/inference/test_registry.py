import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fractureai.errors import BrokenDeployment
from fractureai.inference.openvino_engine import openvino_engine
from fractureai.inference.registry import ModelRegistry


def _never(folder, card):
    raise AssertionError(f"{card.name} was loaded")


def test_cards_are_read_without_loading_weights(models_folder):
    cards = ModelRegistry(models_folder, _never).cards()
    names = ["fracture-elbow", "fracture-hand", "region"]
    assert [(card.name, identity.name) for card, identity in cards] == [(name, name) for name in names]
    assert all(len(identity.card_sha256) == 64 for _, identity in cards)


def test_networks_are_loaded_once_for_all_models_that_share_them_and_on_first_use(models_folder):
    loaded = []
    factory = openvino_engine(threads=1)

    def counting(folder, card):
        loaded.append(card.name)
        return factory(folder, card)

    registry = ModelRegistry(models_folder, counting)
    assert loaded == []
    threads = [threading.Thread(target=registry.region) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == ["limbs"]
    registry.warm()
    assert loaded == ["limbs", "site-hand"]


def test_models_that_share_a_network_say_so(models_folder):
    registry = ModelRegistry(models_folder, openvino_engine(threads=1))
    reading = registry.region().read(np.full((40, 30), 90, np.uint8))
    assert registry.fracture("elbow").network == reading.network
    assert registry.fracture("hand").network != reading.network


def test_a_region_without_a_model_has_none(models_folder):
    registry = ModelRegistry(models_folder, _never)
    assert registry.fracture("knee") is None


@pytest.mark.parametrize(("folder", "name"), [("limbs", "model.bin"), ("limbs", "model.xml"), ("region", "scope.npz")])
def test_a_changed_file_is_refused_before_it_is_opened(models_folder, folder, name):
    path = models_folder / folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    registry = ModelRegistry(models_folder, _never)
    with pytest.raises(BrokenDeployment, match=f"{name} is not the file"):
        registry.region()
    with pytest.raises(BrokenDeployment, match=name):
        registry.verify("region")
    registry.verify("fracture-hand")


def test_a_model_of_another_network_is_refused(models_folder):
    _edit(models_folder, "limbs", "network.json", version="2.0.0")
    with pytest.raises(BrokenDeployment, match="made for another network limbs"):
        ModelRegistry(models_folder, _never).region()


@pytest.mark.parametrize("network", [{"logits": [4], "cells": 0}, {"logits": [2], "cells": 2}])
def test_a_model_that_names_outputs_its_network_lacks_is_refused(models_folder, network):
    path = models_folder / "fracture-elbow" / "card.json"
    named = json.loads(path.read_text())["network"]
    _edit(models_folder, "fracture-elbow", network=named | network)
    with pytest.raises(BrokenDeployment, match="outputs that network limbs does not have"):
        ModelRegistry(models_folder, openvino_engine(threads=1)).fracture("elbow")


def test_a_missing_network_is_named(models_folder):
    (models_folder / "limbs" / "network.json").unlink()
    with pytest.raises(BrokenDeployment, match=r"limbs/network\.json cannot be read"):
        ModelRegistry(models_folder, _never).region()


def test_a_missing_file_is_named(models_folder):
    (models_folder / "limbs" / "model.bin").unlink()
    with pytest.raises(BrokenDeployment, match=r"model\.bin cannot be read"):
        ModelRegistry(models_folder, _never).fracture("elbow")


def _edit(models_folder: Path, folder: str, file: str = "card.json", **changes: object) -> None:
    path = models_folder / folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_card_cannot_point_outside_its_folder(models_folder):
    _edit(models_folder, "fracture-elbow", files={"../limbs/model.bin": {"sha256": "0" * 64, "size_bytes": 1}})
    with pytest.raises(BrokenDeployment, match="outside its folder"):
        ModelRegistry(models_folder, _never).fracture("elbow")


def test_two_models_for_one_region_are_refused(models_folder):
    twin = models_folder / "fracture-twin"
    twin.mkdir()
    for path in (models_folder / "fracture-elbow").iterdir():
        (twin / path.name).write_bytes(path.read_bytes())
    _edit(models_folder, "fracture-twin", name="fracture-twin")
    with pytest.raises(BrokenDeployment, match="several models"):
        ModelRegistry(models_folder, _never).fracture("elbow")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"name": "other"}, "must agree"), ({"thresholds": []}, "thresholds"), ({"files": {}}, "does not vouch")],
)
def test_a_wrong_card_is_refused_by_its_path(models_folder, changes, message):
    _edit(models_folder, "region", **changes)
    with pytest.raises(BrokenDeployment, match=message) as caught:
        ModelRegistry(models_folder, _never).cards()
    assert str(models_folder / "region" / "card.json") in str(caught.value)


def test_no_folder_and_no_region_model_say_so(tmp_path):
    with pytest.raises(BrokenDeployment, match="is missing"):
        ModelRegistry(tmp_path / "none", _never).cards()
    with pytest.raises(BrokenDeployment, match="No region model"):
        ModelRegistry(tmp_path, _never).region()


_FORK = """
import os, sys
from pathlib import Path
import numpy as np
from fractureai.errors import BrokenDeployment
from fractureai.inference.openvino_engine import openvino_engine
from fractureai.inference.registry import ModelRegistry

registry = ModelRegistry(Path(sys.argv[1]), openvino_engine(threads=1))
read = lambda: registry.fracture("elbow").read(np.full((40, 30), 90, np.uint8))
(read if sys.argv[2] == "loaded" else registry.cards)()
if os.fork() == 0:
    try:
        read()
    except BrokenDeployment:
        os._exit(4)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.parametrize(("state", "code"), [("cards only", 0), ("loaded", 4)])
def test_a_fork_before_loading_works_and_one_after_is_refused_instead_of_hanging(models_folder, state, code):
    command = [sys.executable, "-c", _FORK, str(models_folder), state]
    done = subprocess.run(command, timeout=60, check=False, capture_output=True, text=True)
    assert done.returncode == code, done.stderr


def test_serving_imports_neither_tensorflow_nor_training_nor_openvino_before_use():
    script = (
        "import sys, fractureai.inference.registry, fractureai.inference.openvino_engine;"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in ('tensorflow', 'keras', 'openvino', 'sklearn')"
        " or m.startswith('fractureai.training')))"
    )
    done = subprocess.run([sys.executable, "-c", script], timeout=60, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
