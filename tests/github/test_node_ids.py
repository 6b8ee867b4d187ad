"""The number in an event's node id, by ids that GitHub gave out: of public repositories, beside REST's own number."""

import base64

import pytest

from github.node_ids import event_id
from tests.github_world.basics import node_id

# What REST shows: `id` beside `node_id`. Of the documentation of GitHub's timeline, of recorded answers in PyGithub's
# tests, GitLab's importer, spring-io/sagan, jquery/jquery, airbnb/javascript, encode/starlette and others.
BY_REST = [
    (6430295168, "LOE_lADODwFebM5HwC0kzwAAAAF_RoSA"),
    (6430296748, "LE_lADODwFebM5HwC0kzwAAAAF_Roqs"),
    (6635165802, "RTE_lADODwFebM5HwC0kzwAAAAGLfJhq"),
    (5492304032, "CE_lADOAJeYfM49evz5zwAAAAFHXeig"),
    (5784383679, "CE_lADOCELT_M5AZN3SzwAAAAFYxrC_"),
    (5890858859, "REE_lADOCELT_M5AZN3SzwAAAAFfH19r"),
    (7329871772, "RTE_lADOCELT_M5LyzvtzwAAAAG05Pec"),
    (9406862296, "ME_lADOCELT_M5LyzvtzwAAAAIwsVPY"),
    (9406862724, "CE_lADOCELT_M4aJC8szwAAAAIwsVWE"),
    (6501124486, "CE_lADOHK9fA85If7x0zwAAAAGDf0mG"),
    (9971875559, "CE_lADOJ-2uL85tGt8gzwAAAAJSXr7n"),
    (6892809849, "CE_lADOAAKNBs5KO0kmzwAAAAGa1-55"),
    (10841266730, "AE_lADOJE8L5s51pPgazwAAAAKGMJoq"),
    (27933206579, "RRE_lADOTFWU5M8AAAABIsCXZM8AAAAGgPLoMw"),
    (31627413421, "RFRE_lADOQFR1MM8AAAABSTyF988AAAAHXSQHrQ"),
    (16347479, "MDE1OlN1YnNjcmliZWRFdmVudDE2MzQ3NDc5"),
    (16347480, "MDEzOkFzc2lnbmVkRXZlbnQxNjM0NzQ4MA=="),
    (16348656, "MDE1OlJlZmVyZW5jZWRFdmVudDE2MzQ4NjU2"),
    (16351220, "MDExOkNsb3NlZEV2ZW50MTYzNTEyMjA="),
    (98136337, "MDEyOkxhYmVsZWRFdmVudDk4MTM2MzM3"),
    (1009034767, "MDE0Ok1lbnRpb25lZEV2ZW50MTAwOTAzNDc2Nw=="),
    (1015402964, "MDExOk1lcmdlZEV2ZW50MTAxNTQwMjk2NA=="),
    (1011101309, "MDIwOlJldmlld1JlcXVlc3RlZEV2ZW50MTAxMTEwMTMwOQ=="),
    (1782463023, "MDEzOlJlb3BlbmVkRXZlbnQxNzgyNDYzMDIz"),
    (1782463379, "MDE1OlVuYXNzaWduZWRFdmVudDE3ODI0NjMzNzk="),
    (1782463917, "MDE0OlVubGFiZWxlZEV2ZW50MTc4MjQ2MzkxNw=="),
    (1782472556, "MDE3OlJlbmFtZWRUaXRsZUV2ZW50MTc4MjQ3MjU1Ng=="),
    (15819975, "MDE1OlN1YnNjcmliZWRFdmVudDE1ODE5OTc1"),
    (15820048, "MDEzOkFzc2lnbmVkRXZlbnQxNTgyMDA0OA=="),
    (16333938, "MDEzOkFzc2lnbmVkRXZlbnQxNjMzMzkzOA=="),
    (16333959, "MDExOkNsb3NlZEV2ZW50MTYzMzM5NTk="),
    (24398051, "MDEzOkFzc2lnbmVkRXZlbnQyNDM5ODA1MQ=="),
    (98136339, "MDEyOkxhYmVsZWRFdmVudDk4MTM2MzM5"),
    (16349963, "MDE1OlN1YnNjcmliZWRFdmVudDE2MzQ5OTYz"),
    (16350729, "MDE1OlJlZmVyZW5jZWRFdmVudDE2MzUwNzI5"),
    (16350730, "MDExOk1lcmdlZEV2ZW50MTYzNTA3MzA="),
    (16350731, "MDExOkNsb3NlZEV2ZW50MTYzNTA3MzE="),
    (28469043, "MDEzOkFzc2lnbmVkRXZlbnQyODQ2OTA0Mw=="),
    (98136335, "MDEyOkxhYmVsZWRFdmVudDk4MTM2MzM1"),
    (1745984857, "MDExOkNsb3NlZEV2ZW50MTc0NTk4NDg1Nw=="),
]
# What GitHub's own pages get by GraphQL: `databaseId` (which the public schema lacks) beside `id`, or in the cursor.
BY_GRAPHQL = [
    (12550358608, "AE_lADOCNXcUc6GaFiazwAAAALsD0ZQ"),
    (12550362274, "RTE_lADOCNXcUc6GaFiazwAAAALsD1Si"),
    (12550567813, "LE_lADOCNXcUc6GaFiazwAAAALsEneF"),
    (12550661821, "LE_lADOCNXcUc6GaFiazwAAAALsE-a9"),
    (12550661973, "UNLE_lADOCNXcUc6GaFiazwAAAALsE-dV"),
    (14887473920, "ATPVTE_lADOCNXcUc6GaFiazwAAAAN3XNMA"),
    (15083737996, "PVTISC_lADOCNXcUc6GaFiazwAAAAODD5OM"),
    (14803494036, "RFPVTE_lADOCNXcUc6GaFiazwAAAANyW2SU"),
    (15405435224, "AE_lADOHusmC86gCdsNzwAAAAOWPElY"),
    (15405435198, "LE_lADOHusmC86gCdsNzwAAAAOWPEk-"),
]


@pytest.mark.parametrize("number, text", BY_REST + BY_GRAPHQL)
def test_the_number_of_an_event_stands_in_its_node_id(number, text):
    assert event_id(text) == number


@pytest.mark.parametrize("number", [1, 0x7F, 0x80, 0xFFFF, 2**31, 2**32 - 1, 2**32, 2**63 - 1])
def test_numbers_of_each_width_are_read(number):
    assert event_id(node_id("LE", 7, 8, number)) == number
    text = b"012:LabeledEvent%d" % number
    assert event_id(base64.b64encode(text).decode()) == number


def packed(*data):
    return "LE_" + base64.urlsafe_b64encode(bytes(data)).decode().rstrip("=")


def test_a_small_number_is_a_byte_of_its_own():
    assert event_id(packed(0x94, 0, 0xCC, 200, 0xCD, 1, 0, 5)) == 5


@pytest.mark.parametrize(
    "text",
    [
        "", "LE_", "LE_l", "le_lADODwFebM5HwC0kzwAAAAF_Roqs", "LE_lADODwFebM5HwC0kzwAAAAF_Roq", "7", "LE_!!!!",
        node_id("I", 7, 8), node_id("X", 7, 8, 9, 10), node_id("LE", 7, 8, 0), node_id("LE", 7, 8, 2**63),
        packed(0x94, 1, 2, 3, 4), packed(0x94, 0, 2, 3), packed(0x94, 0, 2, 3, 0xCE, 1), packed(0x94, 0, 2, 3, 0xFF),
        packed(0x93, 0, 2, 3, 4), packed(0x94, 0, 2, 3, 4, 5),
        "MDE1OlN1YnNj!cmliZWRFdmVudDE2MzQ3NDc5",
        *(base64.b64encode(old).decode() for old in (
            b"011:LabeledEvent7", b"012:LabeledEvent07", b"012:LabeledEvent", b"005:Issue7", b"012:LabeledEvent7 ",
            b"012:LabeledEvent9223372036854775808", b"\xff12:LabeledEvent7",
        )),
    ],
)  # fmt: skip
def test_what_is_made_otherwise_has_no_number(text):
    assert event_id(text) is None
