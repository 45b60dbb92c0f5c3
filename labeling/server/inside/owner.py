"""The owner's account: made at the first start, and in step with credentials.json ever after."""

from labeling.server.folder import OWNER, DataFolder, new_api_key, new_password


async def ensure(folder: DataFolder, url: str) -> None:
    """Make sure that the owner in credentials.json can sign in, and note the address there."""
    from argilla_server import database
    from argilla_server.contexts import accounts
    from argilla_server.enums import UserRole
    from argilla_server.models import User

    with folder.edit_credentials() as credentials:
        credentials["url"] = url
        known = credentials["users"].setdefault(
            OWNER, {"role": "owner", "password": new_password(), "api_key": new_api_key()}
        )
        async with database.AsyncSessionLocal() as session:
            user = await User.get_by(session, username=OWNER)
            if user is None:
                user = await accounts.create_user(
                    session,
                    {
                        "username": OWNER,
                        "first_name": OWNER,
                        "last_name": None,
                        "role": UserRole.owner,
                        "password": known["password"],
                    },
                )
            if user.api_key != known["api_key"]:  # new, or credentials.json was lost and is new
                user.api_key = known["api_key"]
                user.password_hash = accounts.hash_password(known["password"])
                await session.commit()
