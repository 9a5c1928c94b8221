"""Generate the documents in `schemas/` from the models: `python -m services.api.schemas`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.api import app
from services.api.wire.submission import TaskIn

FOLDER = Path(__file__).parents[2] / "schemas"


def documents() -> Mapping[str, Any]:
    """Return the content of each file by name."""
    task = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TaskIn.model_json_schema()}
    return {"task.json": task, "openapi.json": app.document().openapi()}


def text(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, document in documents().items():
        (FOLDER / name).write_text(text(document))
