"""Lets sslyze, which looks for all that is known to be weak in TLS, examine the server.

sslyze stands for libraries of its own versions, so it lives beside ours: ``make .venv/sslyze/installed``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from live import LiveServer

SSLYZE = Path(sys.prefix) / "sslyze" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SSLYZE.exists(), reason="sslyze is not installed: make .venv/sslyze/installed"),
]

#: not on Mozilla's list, and offered by OpenSSL; nobody calls them weak, and Python cannot choose before 3.15
FURTHER_CURVES = {"X448", "secp521r1"}

Scan = dict[str, Any]


@pytest.fixture(scope="module", params=["ec", "rsa"])
def examined(request: pytest.FixtureRequest, authority: Authority, tmp_path_factory: pytest.TempPathFactory):
    """Its results, and what it says to Mozilla's recommendations, of a server whose key is of this kind."""
    certfile, keyfile = authority.make(f"sslyze-{request.param}", kind=request.param)
    server = LiveServer("contract:app", "-w", "2", "--certfile", str(certfile), "--keyfile", str(keyfile))
    try:
        server.wait_until_serving()
        yield examine(server, authority, tmp_path_factory.mktemp("sslyze") / "results.json", "intermediate")
        assert server.get("/").status == 200
    finally:
        server.end()


def examine(server: LiveServer, authority: Authority, results: Path, recommended: str) -> tuple[Scan, list[str]]:
    """All scans by name, and the reasons why it does not comply."""
    options = ["--mozilla_config", recommended, "--resum", "--early_data", "--certinfo_ca_file", str(authority.path)]
    command = [str(SSLYZE), "-m", "sslyze", *options, "--json_out", str(results), f"127.0.0.1:{server.address[1]}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "COMPLIANCE AGAINST TLS CONFIGURATION" in done.stdout, done.stdout + done.stderr
    reasons = re.findall(r"^ +\* (.*)$", done.stdout.partition("COMPLIANCE AGAINST TLS CONFIGURATION")[2], re.MULTILINE)
    (found,) = json.loads(results.read_text())["server_scan_results"]
    scans = {}
    for name, scan in found["scan_result"].items():
        assert scan["status"] in ("COMPLETED", "NOT_SCHEDULED"), (name, scan)
        if scan["status"] == "COMPLETED":
            scans[name] = scan["result"]
    return scans, reasons


def names(scan: Scan) -> set[str]:
    return {suite["cipher_suite"]["name"] for suite in scan["accepted_cipher_suites"]}


class TestExamined:
    @pytest.mark.parametrize("version", ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"])
    def test_old_versions_are_not_spoken(self, examined: tuple[Scan, list[str]], version: str):
        assert examined[0][f"{version}_cipher_suites"]["is_tls_version_supported"] is False

    def test_all_ciphers_have_forward_secrecy_and_authenticate(self, examined: tuple[Scan, list[str]]):
        old, new = names(examined[0]["tls_1_2_cipher_suites"]), names(examined[0]["tls_1_3_cipher_suites"])
        assert len(old) == len(new) == 3
        assert all(
            re.fullmatch("TLS_ECDHE_(ECDSA|RSA)_WITH_(AES_(128|256)_GCM|CHACHA20_POLY1305)_.*", name) for name in old
        )

    def test_nothing_that_has_a_name_among_attackers_works(self, examined: tuple[Scan, list[str]]):
        scans = examined[0]
        assert scans["tls_compression"] == {"supports_compression": False}  # CRIME
        assert scans["openssl_ccs_injection"] == {"is_vulnerable_to_ccs_injection": False}
        assert scans["heartbleed"] == {"is_vulnerable_to_heartbleed": False}
        assert scans["robot"] == {"robot_result": "NOT_VULNERABLE_RSA_NOT_SUPPORTED"}
        assert scans["tls_fallback_scsv"] == {"supports_fallback_scsv": True}
        assert scans["tls_extended_master_secret"] == {"supports_ems_extension": True}
        assert scans["tls_1_3_early_data"] == {"supports_early_data": False}  # which could be replayed

    def test_nobody_renegotiates(self, examined: tuple[Scan, list[str]]):
        found = examined[0]["session_renegotiation"]
        assert found["supports_secure_renegotiation"] is True
        assert found["is_vulnerable_to_client_renegotiation_dos"] is False
        assert found["client_renegotiations_success_count"] == 0

    def test_sessions_are_resumed_by_tickets_with_either_worker(self, examined: tuple[Scan, list[str]]):
        found = examined[0]["session_resumption"]
        assert found["tls_ticket_resumption_result"] == "FULLY_SUPPORTED"

    def test_the_chain_is_right(self, examined: tuple[Scan, list[str]]):
        (deployment,) = examined[0]["certificate_info"]["certificate_deployments"]
        assert deployment["received_chain_has_valid_order"] is True
        assert deployment["verified_chain_has_sha1_signature"] is False

    def test_it_complies_with_mozillas_intermediate_recommendations_but_for_curves(
        self, examined: tuple[Scan, list[str]]
    ):
        reasons = examined[1]
        assert all(reason.startswith("tls_curves: ") for reason in reasons), reasons
        assert set(re.findall(r"'(\w+)'", " ".join(reasons))) <= FURTHER_CURVES


def test_with_tls_1_3_alone_it_complies_with_the_modern_ones(
    serve: Callable[..., LiveServer], with_certificate: list[str], authority: Authority, tmp_path: Path
):
    server = serve("contract:app", "-w", "1", *with_certificate, "--ssl-minimum-version", "TLSv1.3")
    scans, reasons = examine(server, authority, tmp_path / "results.json", "modern")
    assert scans["tls_1_2_cipher_suites"]["is_tls_version_supported"] is False
    assert all(reason.startswith("tls_curves: ") for reason in reasons), reasons
