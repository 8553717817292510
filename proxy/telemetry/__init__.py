"""Logs and metrics: what operators see of the proxy. Used by every other part, and uses none but `proxy.secret`."""
