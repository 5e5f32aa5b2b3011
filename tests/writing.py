"""Documents as an integrator writes them, as short as a test needs them."""


def policy_text(owner: str, *, head: str = "", **categories: str) -> str:
    """Return a policy that lets these categories in, sealed to the owner; each with its further lines, often none."""
    lines = ["version = 1", head, "[recipients]", f'owner = ["{owner}"]']
    for name, further in categories.items():
        purpose = "support" if name == "usage_log" else "security"
        if name == "usage_log":
            lines += ["[purpose.support]", 'description = "To find out why it fails."', 'basis = "contract"']
        lines += [f"[category.{name.replace('_', '-')}]", f'purpose = "{purpose}"', 'seal_to = ["owner"]', further]
    return "\n".join(lines) + "\n"
