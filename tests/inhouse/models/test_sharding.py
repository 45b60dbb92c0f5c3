"""FSDP2: what is refused; that it trains as one process does stands in tests/sft."""

from types import SimpleNamespace

import pytest
from accelerate.utils import DistributedType

from inhouse.errors import InputError
from inhouse.models import sharding
from inhouse.training import memory
from inhouse.training.options import check_settings


@pytest.fixture
def launched(monkeypatch):
    """What ``accelerate launch`` sets for a config file that shards."""

    def launch(**changed: str) -> None:
        named = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", **changed}
        for name, value in named.items():
            monkeypatch.setenv(name, value)

    return launch


def training(kind: DistributedType) -> SimpleNamespace:
    return SimpleNamespace(bf16=False, distributed_state=SimpleNamespace(distributed_type=kind))


def test_a_stage_that_cannot_shard_refuses_to(launched):
    launched()
    with pytest.raises(
        InputError, match=r"`python -m rlhf.dpo` only.*configs/accelerate/ddp\.yaml"
    ):
        check_settings({})
    check_settings({}, may_shard=True)


def test_the_first_fsdp_is_refused(launched):
    launched(FSDP_VERSION="1")
    with pytest.raises(InputError, match=r"fsdp_version is 1.*configs/accelerate/fsdp2\.yaml"):
        check_settings({}, may_shard=True)


def test_processes_without_weights_are_refused(launched):
    launched(FSDP_CPU_RAM_EFFICIENT_LOADING="true")
    with pytest.raises(InputError, match=r"fsdp_cpu_ram_efficient_loading.*set it to false"):
        check_settings({}, may_shard=True)


def test_accelerate_is_told_only_on_a_cpu_and_only_if_asked(launched):
    idle = training(DistributedType.MULTI_CPU)
    sharding.begin(idle)
    assert idle.distributed_state.distributed_type == DistributedType.MULTI_CPU
    launched()
    gpus = training(DistributedType.MULTI_GPU)
    sharding.begin(gpus)
    assert vars(gpus.distributed_state) == {"distributed_type": DistributedType.MULTI_GPU}
    sharding.begin(idle)
    assert idle.distributed_state.distributed_type == DistributedType.FSDP
    assert idle.distributed_state.fsdp_plugin.fsdp_version == 2


def test_nothing_is_tried_and_that_is_said(launched):
    trainer = SimpleNamespace(is_fsdp_enabled=True)
    assert memory.measure(trainer, [], None, None) is None
