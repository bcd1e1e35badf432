"""The blueprint that all modules of the HTTP API's version 1 put their addresses on."""

from __future__ import annotations

from flask import Blueprint

bp = Blueprint("api", __name__, url_prefix="/api/v1")
