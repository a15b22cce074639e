"""Clients that others wrote, against a server on a real socket: what they send is what we take.

tabby-agent is looked for in the folder that CODEBYTE_TABBY_AGENT names (`npm install tabby-agent`
makes it: node_modules/tabby-agent); the tests of clients that are not here are skipped.
"""

import asyncio
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import openai
import pytest
from lsprotocol import types as lsp
from pygls.lsp.client import LanguageClient
from served import serving
from taught import AFTER, BEFORE, ENDLESS, HALF, HOLE, REST, TEXT, taught_checkpoint

from codebyte.apps.api import create_api
from codebyte.apps.guard import Guard
from codebyte.apps.session import Session, _Served
from codebyte.scoring import surprisal

TOKEN = "a-token-of-some-length"
ASKED = {"model": "codebyte", "temperature": 0}
AGENT = Path(os.environ.get("CODEBYTE_TABBY_AGENT", "node_modules/tabby-agent"))


@pytest.fixture(scope="module")
def session() -> Session:
    return Session(taught_checkpoint())


@pytest.fixture(scope="module")
def address(session: Session) -> Iterator[str]:
    with serving(Guard(create_api(session), token=TOKEN)) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key=TOKEN, max_retries=0) as client:
        yield client


def test_openai_fills_in_and_streams_with_usage(client: openai.OpenAI) -> None:
    asked = ASKED | {"prompt": BEFORE, "suffix": AFTER, "max_tokens": 100}
    whole = client.completions.create(**asked)
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == (HOLE, "stop")
    stream = client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    *chunks, last = stream
    assert "".join(chunk.choices[0].text for chunk in chunks) == HOLE
    assert last.usage is not None
    assert last.usage.completion_tokens == len(HOLE)
    assert last.usage.prompt_tokens_details is not None


def test_openai_reads_other_models_marks_unless_told_not_to(client: openai.OpenAI) -> None:
    marked = f"<|fim_prefix|>{BEFORE}<|fim_suffix|>{AFTER}<|fim_middle|>"
    asked = ASKED | {"prompt": marked, "max_tokens": 100}
    assert client.completions.create(**asked).choices[0].text == HOLE
    plain = client.completions.create(**asked, extra_body={"fim_marks": False})
    assert plain.usage is not None
    assert plain.usage.prompt_tokens == len(marked)


def test_openai_scores_a_text_by_echo(client: openai.OpenAI, session: Session) -> None:
    found = client.completions.create(
        **ASKED, prompt=TEXT[:80], echo=True, max_tokens=0, logprobs=1
    )
    logprobs = found.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.token_logprobs is not None
    bits = surprisal(session.model, TEXT[:80].encode())[1:].sum()
    assert -sum(logprobs.token_logprobs[1:]) / math.log(2) == pytest.approx(bits, rel=1e-3)


def test_openai_lists_the_models_and_retrieves_one(client: openai.OpenAI) -> None:
    (listed,) = client.models.list().data
    assert (listed.id, listed.object) == ("codebyte", "model")
    assert client.models.retrieve("codebyte") == listed
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-4")


def test_openai_is_given_n_texts_of_a_seed_the_same_again_and_others_of_another(
    client: openai.OpenAI,
) -> None:
    def drawn(seed: int, n: int = 3, stream: bool = False) -> list[str]:
        asked = {"model": "codebyte", "prompt": "# ", "max_tokens": 10, "temperature": 1.5}
        if not stream:
            choices = client.completions.create(**asked, n=n, seed=seed).choices
            assert [choice.index for choice in choices] == list(range(n))
            return [choice.text for choice in choices]
        texts = [""] * n
        for chunk in client.completions.create(**asked, n=n, seed=seed, stream=True):
            texts[chunk.choices[0].index] += chunk.choices[0].text
        return texts

    first = drawn(7)
    assert drawn(7) == drawn(7, stream=True) == first
    assert drawn(7, n=1) == first[:1]
    assert len(set(first)) > 1
    assert drawn(1000) != first


@pytest.mark.parametrize("stop", ["width * h", ["nowhere", "th *", "\n\n"]])
def test_openais_stop_ends_a_text_though_it_comes_in_pieces(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch, stop: str | list[str]
) -> None:
    asked = ASKED | {"prompt": TEXT[:28], "max_tokens": 50, "stop": stop}
    wanted = TEXT[28 : TEXT.index(stop if isinstance(stop, str) else stop[1])]
    whole = client.completions.create(**asked).choices[0]
    assert (whole.text, whole.finish_reason) == (wanted, "stop")
    monkeypatch.setattr("codebyte.apps.session.GATHERED", 0.0)  # every piece goes out by itself
    chunks = [it.choices[0] for it in client.completions.create(**asked, stream=True)]
    assert sum(bool(chunk.text) for chunk in chunks) > 2
    assert "".join(chunk.text for chunk in chunks) == wanted
    assert chunks[-1].finish_reason == "stop"


def test_closing_openais_stream_stops_the_decode_within_50_ms(
    client: openai.OpenAI, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[float] = []  # of the processor's seconds: others' work on it does not count
    cancelled = _Served.cancelled

    def noted(served: _Served) -> bool:  # asked between bytes
        steps.append(time.process_time())
        return cancelled(served)

    monkeypatch.setattr(_Served, "cancelled", noted)
    # Pieces that last for seconds: nothing but what is asked between bytes can end one earlier.
    monkeypatch.setattr("codebyte.apps.session.GATHERED", 5.0)
    asked = ASKED | {"prompt": ENDLESS * 4, "max_tokens": 4096}
    went_on = []
    for _ in range(7):
        stream = client.completions.create(**asked, stream=True)
        next(iter(stream))
        assert session.queue.inside == 1
        left = time.process_time()
        stream.close()
        while session.queue.inside:
            time.sleep(0.002)
        went_on.append(steps[-1] - left)
    assert statistics.median(went_on) < 0.05


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_curl_is_answered(address: str) -> None:
    asked = {"prompt": TEXT[:30], "max_tokens": 2, "temperature": 0, "stream": True}
    command = ["curl", "--silent", "--show-error", "--no-buffer", f"{address}/v1/completions"]
    command += ["--header", f"Authorization: Bearer {TOKEN}", "--data", json.dumps(asked)]
    command += ["--header", "Content-Type: application/json"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    events = [line.removeprefix("data: ") for line in done.stdout.splitlines() if line]
    assert events[-1] == "[DONE]"
    texts = [json.loads(event)["choices"][0]["text"] for event in events[:-1]]
    assert "".join(texts) == TEXT[30:38]


@pytest.mark.skipif(find_spec("llm") is None, reason="the package llm is not installed")
@pytest.mark.parametrize("options", [[], ["--no-stream"]], ids=["streaming", "whole"])
def test_the_llm_command_line_is_answered(address: str, tmp_path: Path, options: list[str]) -> None:
    models = f"""\
- model_id: codebyte
  model_name: codebyte
  api_base: {address}/v1
  api_key_name: codebyte
  completion: true
"""
    (tmp_path / "extra-openai-models.yaml").write_text(models)
    (tmp_path / "keys.json").write_text(json.dumps({"codebyte": TOKEN}))
    command = [sys.executable, "-m", "llm", "-m", "codebyte", "--no-log", *options]
    command += ["-o", "temperature", "0", "-o", "max_tokens", "5", TEXT[:30]]
    done = subprocess.run(
        command,
        env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip("\n") == TEXT[30:50].strip("\n")


@pytest.mark.skipif(
    shutil.which("node") is None or not AGENT.is_dir(), reason="node or tabby-agent is not here"
)
def test_tabby_agent_completes_over_lsp(address: str, tmp_path: Path) -> None:
    config = tmp_path / ".tabby-client" / "agent" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        f'[server]\nendpoint = "{address}"\ntoken = "{TOKEN}"\n'
        "[anonymousUsageTracking]\ndisable = true\n"
    )

    async def talk() -> list[str]:
        agent = LanguageClient("editor", "1")
        script = str((AGENT / "dist" / "cli.js").resolve())
        await agent.start_io(
            "node", script, "--lsp", "--stdio", env={**os.environ, "HOME": str(tmp_path)}
        )
        uri = (tmp_path / "shapes.py").as_uri()
        try:
            await agent.initialize_async(
                lsp.InitializeParams(
                    lsp.ClientCapabilities(),
                    process_id=os.getpid(),
                    client_info=lsp.ClientInfo("editor", "1"),
                )
            )
            agent.initialized(lsp.InitializedParams())
            await asyncio.sleep(1)  # it asks for the server's health first
            document = lsp.TextDocumentItem(uri, "python", 1, HALF + "\n")
            agent.text_document_did_open(lsp.DidOpenTextDocumentParams(document))
            place = lsp.Position(HALF.count("\n"), len(HALF) - HALF.rfind("\n") - 1)
            found = await agent.text_document_completion_async(
                lsp.CompletionParams(lsp.TextDocumentIdentifier(uri), place)
            )
            items = found.items if isinstance(found, lsp.CompletionList) else found or []
            await agent.shutdown_async(None)
            agent.exit(None)
            return [it.text_edit.new_text for it in items if isinstance(it.text_edit, lsp.TextEdit)]
        finally:
            await agent.stop()

    assert asyncio.run(asyncio.wait_for(talk(), 60)) == [REST]
