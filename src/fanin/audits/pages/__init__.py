"""The page of an audit: what each tensor is, with charts, in one file of HTML."""

from fanin.audits.pages.page import audit_page

__all__ = ["audit_page"]
