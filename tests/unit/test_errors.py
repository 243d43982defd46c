from clipaudit.errors import did_you_mean, nearest

MODELS = ["ViT-B-32", "RN50"]


def test_names_far_from_all_have_no_neighbour():
    assert nearest("qqqqqq", MODELS) == []
    assert did_you_mean("qqqqqq", MODELS, otherwise="List them.") == "List them."


def test_the_nearest_name_is_offered_whatever_its_case():
    assert did_you_mean("vit-b32", MODELS, otherwise="") == "Did you mean ViT-B-32?"
