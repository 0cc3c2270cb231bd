"""Where webhooks may go: listed hosts, and addresses that are public or listed."""

import pytest

from app.security.addresses import parse_networks
from app.security.targets import TargetError, Targets, parse_targets, reachable

INTRANET = parse_networks(["10.20.0.0/16"])


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.20.1.1", True),
        ("::ffff:8.8.8.8", True),
        ("::ffff:10.20.1.1", True),
        ("2002:808:808::1", True),
        ("64:ff9b::808:808", False),
        ("10.21.1.1", False),
        ("192.168.1.1", False),
        ("172.16.0.1", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("100.100.100.200", False),
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("fe80::1%eth0", False),
        ("fd00:ec2::254", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:169.254.169.254", False),
        ("2002:7f00:1::1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::808:808", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("not an address", False),
    ],
)
def test_only_public_addresses_and_listed_networks_are_reached(address: str, expected: bool) -> None:
    assert reachable(address, INTRANET) is expected


LISTED = Targets(
    parse_targets(
        ["oa.example.gov.cn", "*.county.gov.cn", "Hooks.Example:8443", "http://10.20.1.1:9000", "[2001:db8::1]"]
    )
)


@pytest.mark.parametrize(
    "url",
    [
        "https://oa.example.gov.cn",
        "https://OA.example.gov.cn:443/hook?x=1",
        "https://oa.example.gov.cn./hook",
        "https://tjj.county.gov.cn/hook",
        "https://a.b.county.gov.cn/hook",
        "https://hooks.example:8443/",
        "http://10.20.1.1:9000/",
        "https://[2001:db8::1]/",
    ],
)
def test_a_listed_target_is_allowed(url: str) -> None:
    LISTED.check(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://county.gov.cn/",
        "https://evilcounty.gov.cn/",
        "https://oa.example.gov.cn.evil.example/",
        "https://oa.example.gov.cn@evil.example/",
        "https://evil.example\\@oa.example.gov.cn/",
        "https://evil.example#oa.example.gov.cn",
        "http://oa.example.gov.cn/",
        "https://oa.example.gov.cn:80/",
        "https://hooks.example/",
        "https://10.20.1.1:9000/",
        "http://10.20.1.1/",
        "https://169.254.169.254/",
        "ftp://oa.example.gov.cn/",
        "file:///etc/passwd",
        "//oa.example.gov.cn/",
        "https:///",
        "",
    ],
)
def test_whatever_is_not_listed_is_refused(url: str) -> None:
    with pytest.raises(TargetError):
        LISTED.check(url)


def test_an_empty_list_allows_nothing() -> None:
    with pytest.raises(TargetError):
        Targets().check("https://oa.example.gov.cn/")


@pytest.mark.parametrize(
    "text", ["", "https://", "a b", "host:0", "host:99999", "ftp://host", "host/path", "*", "*.*.cn"]
)
def test_what_is_no_target_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(TargetError):
        parse_targets([text])
