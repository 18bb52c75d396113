"""The usual names of the columns of question tables; of several that are there the first one counts."""

from __future__ import annotations

QUESTION_COLUMNS = ("question", "question_text", "query", "prompt", "instruction")
CHOICES_COLUMNS = ("choices", "options", "multi_choice", "multi-choice", "candidates")
ANSWER_COLUMNS = ("answer", "answer_gt", "correct_answer", "gold", "label", "answer_text")
ID_COLUMNS = ("id", "question_id", "uid", "qid", "audio_id", "file_name", "filename")
AUDIO_COLUMNS = (
    "audio_path",
    "audio_id",
    "audio",
    "audio_file",
    "path",
    "file_name",
    "filename",
    "location",
    "wav",
    "file",
)
# An id or address of a video on YouTube, and which part of it is heard; the first four may hold a bare id.
VIDEO_COLUMNS = (
    "youtube_id",
    "ytid",
    "yt_id",
    "YTID",
    "video_id",
    "video_name",
    "segment_id",
    "url",
    "video_url",
    "link",
)
START_COLUMNS = ("segment_start", "start_time", "start_seconds", "start_s", "start", "timestamp_start")
END_COLUMNS = ("segment_end", "end_time", "end_seconds", "end_s", "end", "timestamp_end")
TIMES_COLUMNS = ("timestamp", "timestamps", "time")
# Where each option has a column of its own.
LETTERS = tuple("ABCDEFGH")
OPTION_COLUMNS = ("{}", "choice_{}", "option_{}", "option {}", "Option {}")
