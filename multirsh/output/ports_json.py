"""Both reports of the ports as JSON: one object, on one line. The keys are documented in docs/ports.md."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from multirsh.output.ndjson import safe
from multirsh.ports.diagnosis import Bind, Finding, PortReport, Remedy, SocketGroup, Survey
from multirsh.ports.sockets import TcpState
from multirsh.ports.sysctls import KernelPorts


def survey_json(report: Survey) -> str:
    """The survey, as one line without its end."""
    ephemeral, waiting, rates = report.ephemeral, report.time_wait, report.rates
    return _line(
        {
            "known": report.is_known,
            "states": _states(report.states),
            "ephemeral": {
                "first": ephemeral.range.start,
                "last": ephemeral.range.stop - 1,
                "kept": ephemeral.kept,
                "listening": list(ephemeral.listening),
                "usable": ephemeral.usable,
                "in_use": ephemeral.in_use,
            },
            "destinations": [
                {
                    "address": one.remote.address,
                    "port": one.remote.port or None,
                    "source_address": one.source,
                    "used": one.used,
                    "left": one.left,
                    "time_wait_is_reused": one.reuses,
                    "states": _states(one.states),
                }
                for one in report.destinations
            ],
            "time_wait": {
                "client": waiting.client,
                "server": waiting.server,
                "limit": waiting.limit,
                "first_ends_s": waiting.first_ends_s,
                "last_ends_s": waiting.last_ends_s,
            },
            "reserved": {
                "taken": report.reserved.taken,
                "free": report.reserved.free,
                "sockets": [_group(group) for group in report.reserved.groups],
            },
            "per_second": {
                "remote_first": None,
                "local_first": round(rates.local_first, 1),
                "reusing": None if rates.reusing is None else round(rates.reusing, 1),
                "reserved_local_first": round(rates.reserved_local_first, 1),
            },
            "settings": _settings(report.kernel),
            "findings": [_finding(one) for one in report.findings],
        }
    )


def port_json(report: PortReport) -> str:
    """The report on one port, as one line without its end."""
    return _line(
        {
            "port": report.port,
            "known": report.is_known,
            "situation": report.situation,
            "free_in_s": report.free_in_s,
            "sockets": [_group(group) for group in report.groups],
            "towards": [_group(group) for group in report.towards],
            "binds": [_bind(bind) for bind in report.binds],
            "privileged": report.is_privileged,
            "permitted": report.is_permitted,
            "ephemeral": report.is_ephemeral,
            "ways": _ways(report.ways),
            "settings": _settings(report.kernel),
        }
    )


def _line(values: Mapping[str, Any]) -> str:
    return safe(json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


def _states(states: Mapping[TcpState, int]) -> dict[str, int]:
    return {state.name.lower(): count for state, count in states.items()}


def _group(group: SocketGroup) -> dict[str, Any]:
    return {
        "state": group.state.name.lower(),
        "address": group.end.address,
        "port": group.end.port or None,
        "count": group.count,
        "side": group.side,
        "programs": [{"pid": holder.pid, "name": holder.name} for holder in group.holders],
        "uids": sorted(group.uids),
        "held_by_a_process": group.has_process,
        "first_ends_s": group.first_ends_s,
        "last_ends_s": group.last_ends_s,
        "others": [
            {
                "address": peer.endpoint.address,
                "port": peer.endpoint.port or None,
                "seconds_left": peer.seconds_left,
            }
            for peer in group.peers
        ],
    }


def _bind(bind: Bind) -> dict[str, Any]:
    return {
        "address": bind.attempt.address,
        "reuse_address": bind.attempt.reuse_address,
        "works": bind.works,
        "reason": bind.reason,
        "predicted": None if bind.verdict is None else bind.verdict.outcome,
        "probed": bind.answer,
    }


def _settings(kernel: KernelPorts) -> dict[str, Any]:
    return {
        "ip_local_port_range": [kernel.ephemeral.start, kernel.ephemeral.stop - 1],
        "ip_local_reserved_ports": sorted(kernel.reserved_by_admin),
        "ip_unprivileged_port_start": kernel.unprivileged_start,
        "tcp_tw_reuse": kernel.tw_reuse,
        "tcp_tw_reuse_delay_s": kernel.tw_reuse_delay,
        "tcp_timestamps": kernel.timestamps,
        "tcp_fin_timeout_s": kernel.fin_timeout,
        "tcp_max_tw_buckets": kernel.max_tw_buckets,
        "unread": list(kernel.unread),
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "urgent": one.is_urgent,
        "message": one.message,
        "ways": _ways(one.ways),
        "leave_alone": list(one.leave_alone),
    }


def _ways(ways: Iterable[Remedy]) -> list[dict[str, Any]]:
    return [{"what": way.what, "price": way.price, "command": way.command} for way in ways]
