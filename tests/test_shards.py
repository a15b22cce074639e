from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeRepo
from indexed import Bag

from codebyte.errors import InputError
from codebyte.indexer.index import CodeIndex
from codebyte.indexer.shards import Shard, ShardedIndex

QUERIES = (
    "greet a person",
    "parse the number of text",
    "wait_3",
    '"return 7"',
    "lang:go next limit",
)


class Here:
    """A shard in this process, which can be lost."""

    def __init__(self, folder: Path) -> None:
        self.shard = Shard(str(folder), Bag)
        self.lost = False

    def ask(self, method: str, *arguments: Any) -> Callable[[], Any]:
        def answer() -> Any:
            if self.lost:
                raise ConnectionError
            return getattr(self.shard, method)(*arguments)

        return answer


@pytest.fixture
def repos(tmp_path: Path, make_repo: MakeRepo) -> list[Path]:
    """Six small repositories that share some words and one file."""
    made = []
    for i in range(6):
        files = {
            f"src/m{i}.py": b'def greet_%d(person):\n    """Greets a person."""\n    return %d\n'
            % (i, i),
            f"src/wait_{i}.py": b"def wait_%d(text):\n    return parse(text) + %d\n" % (i, i),
            "src/same.py": b'def parse(text):\n    """Parses a number."""\n    return int(text)\n',
            f"next{i}.go": b"package a\n\nfunc Next%d(limit int) int {\n\treturn limit\n}\n" % i,
        }
        made.append(make_repo(tmp_path / f"repo{i}", files))
    return made


def hits(found: list[Any]) -> list[tuple[object, ...]]:
    return [(it.repo, it.path, it.symbol, round(it.score, 4), it.why, it.copies) for it in found]


def test_shards_find_what_one_index_finds(tmp_path: Path, repos: list[Path]) -> None:
    one = CodeIndex(tmp_path / "one", Bag())
    for repo in repos:
        one.update(repo)
    many = ShardedIndex([Here(tmp_path / f"shard{i}") for i in range(3)], Bag())
    done = many.update([*repos, tmp_path / "nowhere"])
    assert set(done.done) == {str(repo) for repo in repos}
    assert list(done.failures) == [str(tmp_path / "nowhere")]
    for query in QUERIES:
        for mode in ("hybrid", "lexical", "dense"):
            answer = many.search(query, 8, mode)
            assert answer.missing == ()
            assert hits(answer.hits) == hits(one.search(query, 8, mode)), (query, mode)


def test_a_lost_shard_is_named_and_the_others_answer(tmp_path: Path, repos: list[Path]) -> None:
    shards = [Here(tmp_path / f"shard{i}") for i in range(3)]
    many = ShardedIndex(shards, Bag())
    many.update(repos)
    owners = {hit.repo: hit.id % 3 for hit in many.search("greet a person", 6).hits}
    assert len(set(owners.values())) > 1
    lost = owners["repo0"]
    shards[lost].lost = True
    answer = many.search("greet a person", 6)
    assert answer.missing == (lost,)
    found = {hit.repo for hit in answer.hits if hit.symbol.startswith("greet")}
    assert found == {repo for repo, shard in owners.items() if shard != lost}
    for shard in shards:
        shard.lost = True
    with pytest.raises(InputError, match="none of the 3 shards answers"):
        many.search("greet")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray warns of its own future
def test_shards_on_ray_find_what_one_index_finds_and_survive_a_loss(
    tmp_path: Path, repos: list[Path]
) -> None:
    ray = pytest.importorskip("ray")
    from codebyte.indexer.ray_shards import start_shards

    one = CodeIndex(tmp_path / "one", Bag())
    for repo in repos:
        one.update(repo)
    runtime = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=runtime)
    try:
        shards = start_shards("local", tmp_path / "shards", 2, Bag)
        many = ShardedIndex(shards, Bag())
        assert len(many.update(repos).done) == 6
        for query in QUERIES:
            assert hits(many.search(query, 8).hits) == hits(one.search(query, 8)), query
        shards[0].kill()
        answer = many.search("greet a person", 6)
        assert answer.missing == (0,)
        assert answer.hits
    finally:
        ray.shutdown()
