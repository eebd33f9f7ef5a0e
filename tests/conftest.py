"""What all tests below have in common: the real server's fixtures. This folder's modules can be imported by name."""

pytest_plugins = ["real_server"]
