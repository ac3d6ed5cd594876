"""The API as it describes itself: OpenAPI names what is answered, and schemathesis finds nothing else."""

import json
import subprocess
import sys
from pathlib import Path

from tests.serve.conftest import ROOT, RunningServer

UPLOAD_STATUSES = {"200", "400", "403", "408", "413", "415", "422", "503", "507"}


def test_openapi_names_what_is_answered(server: RunningServer) -> None:
    schema = json.loads(server.get("/openapi.json")[1])
    for path in ("/tag", "/lumen/api/processFile/"):
        operation = schema["paths"][path]["post"]
        assert set(operation["responses"]) == UPLOAD_STATUSES
        assert "multipart/form-data" in operation["requestBody"]["content"]
        for status in UPLOAD_STATUSES - {"200"}:
            (content,) = operation["responses"][status]["content"].values()
            assert content["schema"] == {"$ref": "#/components/schemas/Refusal"}
    assert schema["components"]["schemas"]["Refusal"]["properties"]["detail"]["type"] == "string"


def test_schemathesis_finds_nothing(server: RunningServer, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "schemathesis.toml"), "run"]
    options = ["--checks", "all", "--max-examples", "20", "--seed", "1", "--no-color"]
    ended = subprocess.run(
        [*command, f"{server.url}openapi.json", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
