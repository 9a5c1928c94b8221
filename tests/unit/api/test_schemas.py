"""The documents in `schemas/` match the models."""

import pytest

from services.api import schemas


@pytest.mark.parametrize("name", ["task.json", "openapi.json"])
def test_a_document_matches_its_models(name: str) -> None:
    kept = (schemas.FOLDER / name).read_text()
    assert kept == schemas.text(schemas.documents()[name]), "run: python -m services.api.schemas"
