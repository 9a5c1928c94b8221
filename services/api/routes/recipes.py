"""The marketplace: recipes, specifications of tasks that users share."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from services.api.access import guards
from services.api.access.callers import Caller, MaybeCaller
from services.api.answers import tasks
from services.api.context import Context, ContextDep
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.http.json_responses import Json
from services.api.wire import recipe as wire
from services.api.wire.answers import Message
from services.api.wire.recipe import RecipeChange, RecipeIn, RecipeOut, RecipeTitle
from shared import clock, errors
from shared.auth import permissions
from shared.auth.permissions import Action, Role
from shared.models.recipe import RECIPE_ID, Recipe
from shared.models.task import Task
from shared.models.user import User

router = routers.make("marketplace", prefix=f"{routers.API}/marketplace")

RecipeId = Annotated[str, Path(max_length=64, description="Id of the recipe")]


@router.get(
    "/recipe", response_model=list[RecipeTitle], responses=AUTHENTICATED, summary="List public recipes and your own"
)
async def list_recipes(context: ContextDep, caller: MaybeCaller) -> Json:
    inactive = await context.stores.users.inactive()
    titles = await context.stores.recipes.titles(caller.id if caller else None, without=inactive)
    return Json([{"id": recipe_id, "description": description} for recipe_id, description in titles])


@router.get(
    "/recipe/{recipe_id}", response_model=RecipeOut, responses=AUTHENTICATED | responses(404), summary="Get a recipe"
)
async def get_recipe(recipe_id: RecipeId, context: ContextDep, caller: MaybeCaller) -> Json:
    return Json(wire.shown(await _visible(context, caller, recipe_id)))


@router.post(
    "/recipe/{recipe_id}",
    response_model=RecipeOut,
    responses=AUTHENTICATED | responses(403, 404, 409),
    summary="Create a recipe from a task",
)
async def create_recipe(recipe_id: RecipeId, sent: RecipeIn, context: ContextDep, caller: Caller) -> Json:
    """
    The recipe keeps the task's specification, even if the task is deleted. A public recipe needs a task of your own:
    members of a project may not publish each other's tasks.
    """
    if not RECIPE_ID.fullmatch(recipe_id):
        raise errors.InvalidInput.of("path.recipe_id", f"must match {RECIPE_ID.pattern}")
    task = await guards.task_of(context, caller, sent.task)
    if sent.public:
        _check_publishable(caller, task.user.id)
    recipe = Recipe(
        id=recipe_id,
        description=sent.description,
        task=sent.task,
        public=sent.public,
        owner=caller.id,
        spec=await _specification(context, task),
        author=task.user.id,
        created_at=clock.now(),
    )
    await context.stores.recipes.add(recipe)
    return Json(wire.shown(recipe))


@router.put(
    "/recipe/{recipe_id}",
    response_model=RecipeOut,
    responses=AUTHENTICATED | responses(403, 404),
    summary="Change a recipe",
)
async def change_recipe(recipe_id: RecipeId, sent: RecipeChange, context: ContextDep, caller: Caller) -> Json:
    recipe = await _changeable(context, caller, recipe_id)
    fields: dict[str, Any] = sent.model_dump(exclude_none=True)
    author = recipe.author
    if sent.task is not None and sent.task != recipe.task:
        task = await guards.task_of(context, caller, sent.task)
        author = task.user.id
        fields |= {"spec": await _specification(context, task), "author": author}
    shown = sent.public if sent.public is not None else recipe.public
    if shown and ("spec" in fields or not recipe.public):
        _check_publishable(caller, author or await _author_of(context, recipe))
    changed = await context.stores.recipes.change(recipe_id, fields) if fields else recipe
    if changed is None:
        raise errors.NotFound(f"no recipe {recipe_id}")
    return Json(wire.shown(changed))


@router.delete(
    "/recipe/{recipe_id}",
    response_model=Message,
    responses=AUTHENTICATED | responses(403, 404),
    summary="Delete a recipe",
)
async def delete_recipe(recipe_id: RecipeId, context: ContextDep, caller: Caller) -> Json:
    await _changeable(context, caller, recipe_id)
    if not await context.stores.recipes.remove(recipe_id):
        raise errors.NotFound(f"no recipe {recipe_id}")
    return Json({"msg": f"recipe {recipe_id} is deleted"})


async def _visible(context: Context, caller: User | None, recipe_id: str) -> Recipe:
    """Return the recipe if it is the caller's, or public with an active owner. Raises `errors.NotFound`."""
    recipe = await context.stores.recipes.get(recipe_id)
    own = recipe is not None and caller is not None and _owns(caller, recipe)
    if recipe is None or not (own or (recipe.public and await context.is_active(recipe.owner))):
        raise errors.NotFound(f"no recipe {recipe_id}")
    return recipe


async def _changeable(context: Context, caller: User, recipe_id: str) -> Recipe:
    recipe = await _visible(context, caller, recipe_id)
    if not _owns(caller, recipe):
        raise errors.NotAllowed("only its owner or an admin may change a recipe")
    return recipe


def _owns(caller: User, recipe: Recipe) -> bool:
    return permissions.allows(permissions.role_towards_user(caller, recipe.owner), Action.CHANGE_RECIPE)


def _check_publishable(caller: User, author: str | None) -> None:
    """Raise `errors.NotAllowed` unless the caller may publish the specification of a task of `author`."""
    role = Role.ADMIN if caller.admin else Role.OTHER
    if author is not None:
        role = permissions.role_towards_user(caller, author)
    if not permissions.allows(role, Action.SHARE_TASK):
        raise errors.NotAllowed("only the owner of its task, or an admin, may make a recipe public")


async def _author_of(context: Context, recipe: Recipe) -> str | None:
    """Return the owner of the task of a recipe from an earlier version; None if the task no longer exists."""
    task = await context.stores.views.get(recipe.task)
    return task.user.id if task is not None else None


async def _specification(context: Context, task: Task) -> dict[str, Any]:
    (document,) = await tasks.documents(context, [task])
    return wire.specification(document)
