"""The container image's files, without building it (deploy/build_image_without_docker.sh does that)."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("LONGHAUL_BUILD", ROOT / "build" / "release"))
TOOLS = pathlib.Path(sys.executable).parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
PROMETHEUS = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())


def check(*command):
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout


def final_stage():
    return "FROM " + DOCKERFILE.split("\nFROM ")[-1]


def program(name):
    found = [path for path in BUILD.rglob(name) if path.is_file() and os.access(path, os.X_OK)]
    if not found:
        pytest.fail(f"{name} is not in {BUILD}: build first")
    return found[0]


def flags_of(name):
    """The long flags that a program knows, by its --help."""
    done = subprocess.run([program(name), "--help"], text=True, stdout=subprocess.PIPE, check=True)
    return set(re.findall(r"--[a-z][a-z-]*", done.stdout))


def test_the_dockerfile_passes_its_linter():
    check(TOOLS / "hadolint", "Dockerfile")


def test_yaml_is_tidy():
    check(TOOLS / "yamllint", "--strict", "deploy", ".hadolint.yaml", ".yamllint.yaml")


def test_the_compose_file_is_valid_with_every_profile():
    check(TOOLS / "docker-compose", "-f", "deploy/compose.yaml", "--profile", "*", "config", "--quiet")


def test_prometheus_takes_its_configuration():
    if not shutil.which("promtool"):
        pytest.fail("promtool is not installed (Debian package prometheus)")
    check("promtool", "check", "config", "deploy/prometheus.yml")


def test_prometheus_scrapes_where_the_server_answers():
    listen = [flag for flag in COMPOSE["services"]["server"]["command"] if flag.startswith("--metrics-listen=")]
    port = listen[0].rpartition(":")[2]
    assert PROMETHEUS["scrape_configs"][0]["static_configs"] == [{"targets": [f"server:{port}"]}]
    assert port in re.search(r"^EXPOSE (.*)", final_stage(), re.MULTILINE)[1].split()


@pytest.mark.parametrize(("service", "name"), [("server", "longhaul-server"), ("load", "longhaul-bench")])
def test_the_programs_know_the_flags_of_the_compose_file(service, name):
    known = flags_of(name)
    used = {flag.partition("=")[0] for flag in COMPOSE["services"][service]["command"]}
    assert used <= known


def test_the_image_runs_without_privileges():
    assert re.findall(r"^USER (.*)", final_stage(), re.MULTILINE) == ["65532:65532"]
    for name in ("server", "load"):
        service = COMPOSE["services"][name]
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name


def test_every_stage_is_plain_debian():
    assert {line.split()[1] for line in DOCKERFILE.splitlines() if line.startswith("FROM ")} == {"debian:bookworm-slim"}


def test_the_image_says_the_version_that_it_holds():
    version = re.search(r"project\(longhaul VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert f"ARG VERSION={version}\n" in final_stage()


def test_the_image_holds_every_library_that_its_programs_load():
    programs = [program(name) for name in ("longhaul-server", "longhaul")]
    programs += [path for path in BUILD.rglob("longhaul-bench") if path.is_file()]
    dump = subprocess.run(["objdump", "--private-headers", *programs], text=True, stdout=subprocess.PIPE, check=True)
    libraries = set(re.findall(r"NEEDED +(\S+)", dump.stdout))
    owners = subprocess.run(["dpkg-query", "--search", *(f"*/{library}" for library in libraries)], text=True,
                            stdout=subprocess.PIPE, check=True)
    needed = {line.partition(":")[0] for line in owners.stdout.splitlines() if "-linux-gnu/" in line}
    in_every_debian = {"libc6", "libgcc-s1", "libstdc++6"}
    installed = set(re.search(r"--no-install-recommends(.*?)&&", final_stage(), re.DOTALL)[1].split())
    assert needed - in_every_debian <= installed
    assert not [name for name in installed if name.endswith("-dev")]
