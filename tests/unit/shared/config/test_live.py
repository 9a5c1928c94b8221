"""Live settings change while a service runs; any other change prevents all of them."""

from __future__ import annotations

import pytest

from services.scheduler.policies import registry
from services.scheduler.policies.fairshare import FairShare
from shared import errors
from shared.config.live import LIVE, Live
from shared.settings import Node, Settings


def live(settings: Settings, new: Settings) -> Live:
    return Live(settings, lambda: new)


def test_every_holder_of_the_settings_sees_the_change() -> None:
    settings = Settings(maxlifespan="1d")
    changed = live(settings, Settings(maxlifespan="2h", rate_limit=5)).reload()
    assert sorted(changed) == ["maxlifespan", "rate_limit"]
    assert (settings.maxlifespan, settings.rate_limit) == (7200.0, 5)


def test_nothing_changes_if_one_setting_cannot() -> None:
    settings = Settings(max_cpu=4, lease_seconds=5)
    with pytest.raises(errors.ConfigurationError, match=r"^lease_seconds cannot change while the service runs"):
        live(settings, Settings(max_cpu=8, lease_seconds=6)).reload()
    assert settings.max_cpu == 4


def test_a_file_that_cannot_be_used_changes_nothing() -> None:
    def broken() -> Settings:
        raise errors.ConfigurationError("not YAML")

    settings = Settings()
    with pytest.raises(errors.ConfigurationError, match="not YAML"):
        Live(settings, broken).reload()
    assert settings == Settings()


def test_first_configured_nodes_replace_this_machine() -> None:
    settings = Settings()
    assert [node.name for node in settings.docker_nodes] == ["localhost"]
    live(settings, Settings(nodes=[Node(name="n1")])).reload()
    assert [node.name for node in settings.docker_nodes] == ["n1"]
    live(settings, Settings()).reload()
    assert [node.name for node in settings.docker_nodes] == ["localhost"]


def test_secrets_and_addresses_need_a_restart() -> None:
    fixed = {"secret_passphrase", "mongo_url", "redis_host", "port", "host", "instance", "shared_dir", "executor"}
    assert not fixed & LIVE
    assert set(Settings.model_fields) >= LIVE


def test_the_weights_of_fair_share_count_from_the_next_pass() -> None:
    settings = Settings(scheduler_policy="fairshare", fairshare_user_weight=1)
    policy = registry.build(settings)
    assert isinstance(policy, FairShare)
    live(settings, Settings(scheduler_policy="fairshare", fairshare_user_weight=7)).reload()
    assert policy._weights.user == 7
