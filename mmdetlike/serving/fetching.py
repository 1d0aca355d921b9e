"""Fetching a picture from an address that a request names, without opening a way into the server's own network."""

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import SplitResult, urljoin, urlsplit

from mmdetlike.serving.limits import Limits, Refusal

FETCH_SECONDS = 10
REDIRECTS = 5
REDIRECTING = (301, 302, 303, 307, 308)
PORTS = {'http': 80, 'https': 443}
HEADERS = {'Accept': 'image/*', 'User-Agent': 'mmdetlike'}
# addresses of IPv6 whose last 32 bits are an address of IPv4, to which gateways pass them on
_NAT64 = ipaddress.ip_network('64:ff9b::/96')


def fetch(url: object, limits: Limits, allow_local: bool = False, seconds: float = FETCH_SECONDS) -> bytes:
    """What an address holds; proxies of the environment are not used.

    Args:
        url: Of http or https, as a request gave it.
        limits: How large it may be.
        allow_local: Also fetch from this machine and from private networks.
        seconds: For all of it, redirects included.

    Raises:
        Refusal: It is no address, it or one that it redirects to is not public, or nothing comes from it in time.
    """
    deadline = time.monotonic() + seconds
    shown = str(url)[:200]
    try:
        for _ in range(REDIRECTS + 1):
            answer = _answer(_parts(url), limits, allow_local, deadline)
            if isinstance(answer, bytes):
                limits.check_size(len(answer))
                return answer
            url = urljoin(url, answer)
    except (OSError, ValueError, http.client.HTTPException) as error:
        late = time.monotonic() >= deadline
        reason = f'it takes longer than {seconds:g} seconds' if late else str(error) or type(error).__name__
        raise Refusal(400, f'{shown} cannot be fetched: {reason}') from error
    raise Refusal(400, f'{shown} cannot be fetched: it redirects more than {REDIRECTS} times')


def _parts(url: object) -> SplitResult:
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:  # such as an unclosed [
        parts = None
    if parts is None or parts.scheme not in PORTS or not parts.hostname:
        raise Refusal(400, f'"url" must be an address of http or https, got {str(url)[:200]!r}')
    return parts


def _answer(parts: SplitResult, limits: Limits, allow_local: bool, deadline: float) -> bytes | str:
    """What one address holds, or the address that it redirects to, which may be relative."""
    port = parts.port or PORTS[parts.scheme]
    plain = _connected(parts.hostname, port, allow_local, deadline)
    with _encrypted(plain, parts) as connected, _closed_at(deadline, connected):
        connection = http.client.HTTPConnection(parts.hostname, port)
        # given to it, so that it resolves no name itself: a name can mean another address each time
        connection.sock = connected
        target = parts._replace(scheme='', netloc='', fragment='', path=parts.path or '/').geturl()
        connection.request('GET', target, headers={'Host': parts.netloc.rpartition('@')[2], **HEADERS})
        response = connection.getresponse()
        if response.status in REDIRECTING:
            return response.headers.get('Location', '')
        if response.status != 200:
            raise OSError(f'the status is {response.status} {response.reason}')
        content = response.read(limits.size + 1)
        if time.monotonic() >= deadline:
            raise TimeoutError  # where no length is announced, a connection that was cut looks like the end
        return content


def _connected(host: str, port: int, allow_local: bool, deadline: float) -> socket.socket:
    """A connection to the first address of a host that takes one, none to a local address unless that is allowed."""
    error: OSError = OSError(f'{host} has no address')
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if not allow_local and not is_public(address[0]):
            reason = 'an address of this machine or of a private network'
            raise Refusal(403, f'{host} is {reason}: this server fetches pictures from public addresses alone')
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            connection.connect(address)
            return connection
        except OSError as refused:
            connection.close()
            error = refused
    raise error


def is_public(address: str) -> bool:
    """Whether an IP address can be reached by everyone, as opposed to one of this machine or of a private network."""
    found = ipaddress.ip_address(address.partition('%')[0])
    if isinstance(found, ipaddress.IPv6Address):
        within = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            within = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if within is not None:
            found = within
    return found.is_global and not found.is_multicast


def _encrypted(connection: socket.socket, parts: SplitResult) -> socket.socket:
    if parts.scheme == 'http':
        return connection
    try:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname)
    except (OSError, ValueError):
        connection.close()
        raise


@contextmanager
def _closed_at(deadline: float, connection: socket.socket) -> Iterator[None]:
    """End a connection at a time: its own timeout starts anew with each byte."""

    def end() -> None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0, deadline - time.monotonic()), end)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
