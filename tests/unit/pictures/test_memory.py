import pytest

from clipaudit.pictures.memory import available_bytes

MEGABYTE = 2**20


@pytest.fixture
def machine(tmp_path):
    """Files as the kernel writes them: a gigabyte that is available, and no groups."""
    for folder in ("proc/self", "groups/memory"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 1048576 kB\n")

    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        return available_bytes(tmp_path / "proc", tmp_path / "groups")

    return write


def test_without_groups_it_is_what_the_machine_has(machine):
    assert machine("proc/self/cgroup", "0::/\n") == 1024 * MEGABYTE


def test_the_narrowest_group_above_counts(machine):
    machine("proc/self/cgroup", "0::/a/b\n")
    machine("groups/a/b/memory.max", "max\n")
    machine("groups/a/memory.max", f"{400 * MEGABYTE}\n")
    machine("groups/a/memory.current", f"{300 * MEGABYTE}\n")
    got = machine("groups/a/memory.stat", f"anon 1\ninactive_file {50 * MEGABYTE}\n")
    assert got == 150 * MEGABYTE


def test_inside_a_container_the_top_is_the_group(machine):
    machine("proc/self/cgroup", "0::/outside/of/it\n")
    machine("groups/memory.max", f"{400 * MEGABYTE}\n")
    assert machine("groups/memory.current", f"{100 * MEGABYTE}\n") == 300 * MEGABYTE


def test_groups_of_version_1_are_read_too(machine):
    machine("proc/self/cgroup", "5:cpu:/x\n4:memory:/a\n")
    machine("groups/memory/a/memory.limit_in_bytes", f"{200 * MEGABYTE}\n")
    got = machine("groups/memory/a/memory.usage_in_bytes", f"{300 * MEGABYTE}\n")
    assert got == 0


def test_where_nobody_says_it_is_not_known(tmp_path):
    assert available_bytes(tmp_path, tmp_path) is None
