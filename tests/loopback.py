"""How the tests' programs reach servers of this machine: directly, whatever http_proxy, grpc_proxy and their kin say."""

import urllib.request


def channel(target, *options):
    """An insecure gRPC channel. `options`: pairs, as grpc.insecure_channel takes them."""
    import grpc  # some users of this module need only what is below

    return grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0), *options])


def read(url):
    """The text behind an http URL."""
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as response:
        return response.read().decode()
