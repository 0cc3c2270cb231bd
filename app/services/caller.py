"""Who asks, from where and under which request id: known here, in one place, for every read and every write."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from app.domain.permissions import Capability, Subject, has_capability
from app.domain.roles import Actor
from app.domain.row_scope import scope_of
from app.domain.visibility import Visibility, visible
from app.errors import ForbiddenError, UnauthenticatedError
from app.security.addresses import Address, Network, client_address
from app.security.bearer import challenge

__all__ = ["Caller", "Origin", "Public", "by_command", "forbidden"]


@dataclass(frozen=True)
class Origin:
    """Where a request comes from.

    Attributes:
        peer: the address of the socket's other end; ``None`` where it has none.
        forwarded: all ``X-Forwarded-For`` lines, in their order.
        trusted: the proxies that are believed.
    """

    peer: str | None = None
    forwarded: Sequence[str] = ()
    trusted: Sequence[Network] = ()

    @cached_property
    def address(self) -> Address | None:
        """The address of the client, or ``None`` where it cannot be known."""
        return client_address(self.peer, self.forwarded, self.trusted)

    @cached_property
    def shown(self) -> str | None:
        """That address as text."""
        return None if self.address is None else str(self.address)

    @property
    def is_local(self) -> bool:
        """Whether the request was made on this machine: not one that a proxy on this machine only passes on."""
        return self.address is not None and self.address.is_loopback and not self.forwarded


@dataclass(frozen=True, slots=True)
class Public:
    """What the deployment opens to everyone."""

    plan: bool = False
    progress: bool = False


@dataclass(frozen=True)
class Caller:
    """One request's actor, origin and id, with the questions that use cases ask of them."""

    actor: Actor
    origin: Origin = Origin()
    request_id: str = "-"
    public: Public = Public()

    @cached_property
    def visibility(self) -> Visibility:
        """The rows of progress that this caller may read."""
        return visible(self.actor, public=self.public.progress)

    @cached_property
    def granted_visibility(self) -> Visibility:
        """The rows that this caller may read by their grants, whatever the deployment opens to everyone."""
        return visible(self.actor, public=False)

    @cached_property
    def scope(self) -> str:
        """What this caller may see and write, as the database's policies read it."""
        return scope_of(self.actor, self.visibility)

    def may(self, capability: Capability) -> bool:
        """Whether this kind of operation is open to the caller at all."""
        public = self.public.plan if capability is Capability.READ_PLAN else self.public.progress
        return has_capability(self.actor, capability, public=public)

    def demand(self, capability: Capability) -> None:
        """Refuse a kind of operation that is not open to the caller, before anything is read.

        Raises:
            UnauthenticatedError: the caller has not said who they are.
            ForbiddenError: no role of theirs takes part in it.
        """
        if self.may(capability):
            return
        if not self.actor.identified:
            raise UnauthenticatedError(
                f"“{capability.label}”须先认证:请在 Authorization 请求头中给出 API 密钥或登录令牌",
                challenge=challenge(),
            )
        raise forbidden(self.actor, capability)

    def sees(self, subject: Subject) -> bool:
        """Whether a row of progress may be read."""
        return self.visibility.admits(subject)


def by_command(name: str) -> Caller:
    """Whoever runs a command of ``liuzhang`` on the machine itself: nobody whom the service could tell, and no role."""
    return Caller(Actor(f"command:{name}", f"命令 liuzhang {name}"))


def forbidden(actor: Actor, capability: Capability, what: str = "") -> ForbiddenError:
    """The refusal of a kind of operation, to all or to ``what`` (Chinese) of it."""
    return ForbiddenError(f"“{actor.name}”没有“{capability.label}”{f'({what})' if what else ''}的权限")
