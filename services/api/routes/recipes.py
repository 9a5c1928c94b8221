"""The marketplace: tasks' specifications that users offer each other to start from."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path

from services.api.access.callers import Caller, Here, MaybeCaller
from services.api.answers import tasks
from services.api.context import Context
from services.api.http import routers
from services.api.http.errors import AUTHENTICATED, responses
from services.api.wire import recipe as wire
from services.api.wire.answers import Json, Message
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
async def list_recipes(here: Here, caller: MaybeCaller) -> Json:
    gone = await here.stores.users.inactive()
    titles = await here.stores.recipes.titles(caller.id if caller else None, without=gone)
    return Json([{"id": recipe_id, "description": description} for recipe_id, description in titles])


@router.get(
    "/recipe/{recipe_id}", response_model=RecipeOut, responses=AUTHENTICATED | responses(404), summary="Get a recipe"
)
async def get_recipe(recipe_id: RecipeId, here: Here, caller: MaybeCaller) -> Json:
    return Json(wire.shown(await _seen(here, caller, recipe_id)))


@router.post(
    "/recipe/{recipe_id}",
    response_model=RecipeOut,
    responses=AUTHENTICATED | responses(403, 404, 409),
    summary="Create a recipe from a task",
)
async def create_recipe(recipe_id: RecipeId, sent: RecipeIn, here: Here, caller: Caller) -> Json:
    """
    The task's specification is kept with the recipe, whatever becomes of the task. A public one needs a task that is one's own:
    what members of a project see of each other is not theirs to show to everybody.
    """
    if not RECIPE_ID.fullmatch(recipe_id):
        raise errors.InvalidInput.of("path.recipe_id", f"must match {RECIPE_ID.pattern}")
    task = await _seen_task(here, caller, sent.task)
    if sent.public:
        _check_shares(caller, task.user.id)
    recipe = Recipe(
        id=recipe_id,
        description=sent.description,
        task=sent.task,
        public=sent.public,
        owner=caller.id,
        spec=await _specification(here, task),
        author=task.user.id,
        created_at=clock.now(),
    )
    await here.stores.recipes.add(recipe)
    return Json(wire.shown(recipe))


@router.put(
    "/recipe/{recipe_id}",
    response_model=RecipeOut,
    responses=AUTHENTICATED | responses(403, 404),
    summary="Change a recipe",
)
async def change_recipe(recipe_id: RecipeId, sent: RecipeChange, here: Here, caller: Caller) -> Json:
    recipe = await _changed_by(here, caller, recipe_id)
    fields: dict[str, Any] = sent.model_dump(exclude_none=True)
    author = recipe.author
    if sent.task is not None and sent.task != recipe.task:
        task = await _seen_task(here, caller, sent.task)
        author = task.user.id
        fields |= {"spec": await _specification(here, task), "author": author}
    shown = sent.public if sent.public is not None else recipe.public
    if shown and ("spec" in fields or not recipe.public):
        _check_shares(caller, author or await _author_of(here, recipe))
    changed = await here.stores.recipes.change(recipe_id, fields) if fields else recipe
    if changed is None:
        raise errors.NotFound(f"no recipe {recipe_id}")
    return Json(wire.shown(changed))


@router.delete(
    "/recipe/{recipe_id}",
    response_model=Message,
    responses=AUTHENTICATED | responses(403, 404),
    summary="Delete a recipe",
)
async def delete_recipe(recipe_id: RecipeId, here: Here, caller: Caller) -> Json:
    await _changed_by(here, caller, recipe_id)
    if not await here.stores.recipes.remove(recipe_id):
        raise errors.NotFound(f"no recipe {recipe_id}")
    return Json({"msg": f"recipe {recipe_id} is deleted"})


async def _seen(here: Context, caller: User | None, recipe_id: str) -> Recipe:
    """The recipe if it is the caller's, or public and its owner not shut out. Raises `errors.NotFound`."""
    recipe = await here.stores.recipes.get(recipe_id)
    own = recipe is not None and caller is not None and _owns(caller, recipe)
    if recipe is None or not (own or (recipe.public and await here.is_active(recipe.owner))):
        raise errors.NotFound(f"no recipe {recipe_id}")
    return recipe


async def _changed_by(here: Context, caller: User, recipe_id: str) -> Recipe:
    recipe = await _seen(here, caller, recipe_id)
    if not _owns(caller, recipe):
        raise errors.NotAllowed("only its owner or an admin may change a recipe")
    return recipe


def _owns(caller: User, recipe: Recipe) -> bool:
    return permissions.allows(permissions.role_towards_user(caller, recipe.owner), Action.CHANGE_RECIPE)


def _check_shares(caller: User, author: str | None) -> None:
    """Raises `errors.NotAllowed` unless the caller may show everybody what a task of `author` was made from."""
    role = Role.ADMIN if caller.admin else Role.OTHER
    if author is not None:
        role = permissions.role_towards_user(caller, author)
    if not permissions.allows(role, Action.SHARE_TASK):
        raise errors.NotAllowed("only the owner of its task, or an admin, may make a recipe public")


async def _author_of(here: Context, recipe: Recipe) -> str | None:
    """Whose task a recipe of an earlier version was made from; None where the task is not there any more."""
    task = await here.stores.views.get(recipe.task)
    return task.user.id if task is not None else None


async def _seen_task(here: Context, caller: User, task_id: int) -> Task:
    """The task, if the caller may see it. Raises `errors.TaskNotFound`."""
    task = await here.stores.views.get(task_id)
    if task is not None:
        shares = await here.shares_project(caller, task)
        role = permissions.role_towards_task(caller, task, shares_project=shares)
        if permissions.allows(role, Action.SEE_TASK):
            return task
    raise errors.TaskNotFound(task_id)


async def _specification(here: Context, task: Task) -> dict[str, Any]:
    """What the task was made from."""
    (document,) = await tasks.documents(here, [task])
    return wire.specification(document)
