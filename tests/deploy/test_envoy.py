"""The configuration of Envoy, by Envoy's own schema: names, types, and the bounds that the schema states."""

import importlib
import pathlib
import pkgutil
import re

import pytest
import yaml
from envoy.config.bootstrap.v3 import bootstrap_pb2
from google.protobuf import any_pb2, descriptor_pool, json_format, message_factory
from validate import validate_pb2

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "deploy" / "envoy.yaml").read_text()
TYPE = "type.googleapis.com/"

# Of the rules in the schema: those of numbers, durations, texts and lists.
RULES = {"gt": lambda value, bound: value > bound, "gte": lambda value, bound: value >= bound,
         "lt": lambda value, bound: value < bound, "lte": lambda value, bound: value <= bound,
         "min_len": lambda value, bound: len(value) >= bound, "max_len": lambda value, bound: len(value) <= bound,
         "min_items": lambda value, bound: len(value) >= bound, "max_items": lambda value, bound: len(value) <= bound}


def types_in(value):
    """The names of all messages that stand behind an "@type"."""
    if isinstance(value, dict):
        if "@type" in value:
            yield value["@type"].removeprefix(TYPE)
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from types_in(each)


def parse(text):
    """ParseError where a name is not known or a value has the wrong type."""
    parsed = yaml.safe_load(text)
    for name in types_in(parsed):
        package = importlib.import_module(name.rpartition(".")[0])
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)
    return json_format.ParseDict(parsed, bootstrap_pb2.Bootstrap())


def plain(value):
    """A number for a duration or a wrapped number."""
    name = getattr(getattr(value, "DESCRIPTOR", None), "full_name", "")
    if name == "google.protobuf.Duration":
        return value.ToNanoseconds()
    return value.value if name.startswith("google.protobuf.") and name.endswith("Value") else value


def broken(rules, value):
    """The names of the rules that a value breaks."""
    kind = rules.WhichOneof("type")
    if kind is None:
        return []
    bounds = getattr(rules, kind)
    return [name for name, holds in RULES.items() if name in bounds.DESCRIPTOR.fields_by_name
            and bounds.HasField(name) and not holds(plain(value), plain(getattr(bounds, name)))]


def faults(message, path=""):
    """Where a message breaks the rules that its schema states."""
    if isinstance(message, any_pb2.Any):
        kind = descriptor_pool.Default().FindMessageTypeByName(message.TypeName())
        message = message_factory.GetMessageClass(kind).FromString(message.value)
    for oneof in message.DESCRIPTOR.oneofs:
        if oneof.GetOptions().Extensions[validate_pb2.required] and message.WhichOneof(oneof.name) is None:
            yield f"{path}{oneof.name}: none"
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key, value in getattr(message, field.name).items():
                yield from faults(value, f"{path}{field.name}[{key}].") if hasattr(value, "DESCRIPTOR") else ()
            continue
        rules = field.GetOptions().Extensions[validate_pb2.rules]
        if field.has_presence and not message.HasField(field.name):
            required = rules.message.required or rules.duration.required or rules.any.required
            if required and field.containing_oneof is None:
                yield f"{path}{field.name}: not there"
            continue
        value = getattr(message, field.name)
        yield from (f"{path}{field.name}: {name}" for name in broken(rules, value))
        if field.message_type is not None:
            for each in value if field.is_repeated else [value]:
                yield from faults(each, f"{path}{field.name}.")


def test_envoy_knows_all_that_is_there():
    assert not list(faults(parse(TEXT)))


@pytest.mark.parametrize(("right", "wrong"), [
    ("max_headers_count: 64", "max_header_count: 64"), ("codec_type: HTTP2", "codec_type: HTTP9"),
    ("max_concurrent_streams: 100", "max_concurrent_streams: many"), ("interval: 5s", "interval: soon"),
    ("ConnectionLimit\n", "ConnectionLimits\n"),
])
def test_what_envoy_does_not_know_is_seen(right, wrong):
    assert right in TEXT
    with pytest.raises(json_format.ParseError):
        parse(TEXT.replace(right, wrong))


@pytest.mark.parametrize(("right", "wrong", "where"), [
    ("max_connections: 3000", "max_connections: 0", "max_connections: gte"),
    ("stat_prefix: requests", "stat_prefix: ''", "stat_prefix: min_len"),
    ("max_request_headers_kb: 16", "max_request_headers_kb: 9000", "max_request_headers_kb: lte"),
    ("- timeout: 2s\n", "- healthy_threshold: 1\n", "health_checks.timeout: not there"),
])
def test_what_envoy_would_refuse_is_seen(right, wrong, where):
    assert right in TEXT
    found = list(faults(parse(TEXT.replace(right, wrong))))
    assert any(fault.endswith(where) for fault in found), found


def test_what_it_says_of_longhaul():
    clusters = parse(TEXT).static_resources.clusters
    address = clusters[0].load_assignment.endpoints[0].lb_endpoints[0].endpoint
    listen = re.search(r"--listen 127\.0\.0\.1:(\d+)", TEXT)[1]
    health = re.search(r"--health-listen 127\.0\.0\.1:(\d+)", TEXT)[1]
    assert address.address.socket_address.port_value == int(listen)
    assert address.health_check_config.port_value == int(health)
    service = clusters[0].health_checks[0].grpc_health_check.service_name
    assert f"prefix: /{service}/" in TEXT
    package, _, name = service.rpartition(".")
    proto = (ROOT / "proto" / "longhaul" / "v1" / "inference.proto").read_text()
    assert f"package {package};" in proto and f"service {name} " in proto
