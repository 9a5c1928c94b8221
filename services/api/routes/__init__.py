"""
Routes of the Web API, one module for each topic.

A route gets its permission from a guard in `services.api.access.guards`, whose rights are in `shared.auth.permissions`. A new
module is listed in `services.api.app.ROUTERS`. CONTRIBUTING.md has the checklist.
"""
