"""The configuration that clients see in `GET config`: pure."""

from __future__ import annotations

from typing import Any

from shared.executors.types import Feature
from shared.settings import Settings


def public(settings: Settings, features: frozenset[Feature], *, version: str) -> dict[str, Any]:
    """Return the public part of the settings, without secrets and paths of the hosts."""
    words = sorted(feature.value for feature in features)
    return {
        "images": [image.model_dump() for image in settings.default_images],
        "volumes": [{"name": volume.name, "acl": volume.acl} for volume in settings.volumes],
        "constraints": [constraint.model_dump() for constraint in settings.constraints],
        "executors": [{"name": settings.executor, "features": words}],
        "executor_features": words,
        "defaults": {"cpu": settings.defaults_cpu, "ram": settings.defaults_ram},
        "dynamic_fields": [field.model_dump() for field in settings.dynamic_fields],
        "allow_root": settings.allow_root and Feature.ROOT in features,
        "allow_user_images": settings.allow_user_images,
        "network": {"use_cni": False, "list": ["public"] if Feature.NETWORK in features else []},
        "failure_policy": settings.failure_policy.model_dump(),
        "version": version,
    }
