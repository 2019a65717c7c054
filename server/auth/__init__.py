"""Who a client is, and what it may do: authentication and guards. See docs/guide/auth.md."""
