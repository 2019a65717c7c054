"""Who a client is, and what it may do: authentication and guards. See docs/guide/auth.md."""

from server.auth.api_key import APIKeyAuthentication
from server.auth.guards import (
    AllowAny,
    Guard,
    HasAllPermissions,
    HasAnyPermission,
    HasPermission,
    IsAdminUser,
    IsAuthenticated,
    IsStaff,
    Requires,
)
from server.auth.identity import AuthenticationFailed, Backend, Identity
from server.auth.jwt import JWTAuthentication

__all__ = [
    "APIKeyAuthentication",
    "AllowAny",
    "AuthenticationFailed",
    "Backend",
    "Guard",
    "HasAllPermissions",
    "HasAnyPermission",
    "HasPermission",
    "Identity",
    "IsAdminUser",
    "IsAuthenticated",
    "IsStaff",
    "JWTAuthentication",
    "Requires",
]
