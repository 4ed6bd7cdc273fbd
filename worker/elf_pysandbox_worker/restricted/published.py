"""Which modules tools have without asking, what of them is published, and what is never had.

Decided here and nowhere else. `DEFAULT` maps a module to what its facade publishes: None means the module's
own public names (`__all__`, or the names without underscore), modules among them left out; a string lists the
names. A name in `WITHHELD` is left out although the module counts it as public.
"""

from __future__ import annotations

from typing import Final

from elf_pysandbox_worker.restricted.names import words

DEFAULT: Final[dict[str, str | None]] = {
    "__future__": None,
    "abc": (
        "ABC ABCMeta abstractmethod abstractclassmethod abstractproperty abstractstaticmethod "
        "get_cache_token update_abstractmethods"
    ),
    "argparse": (
        "ArgumentParser ArgumentError ArgumentTypeError BooleanOptionalAction HelpFormatter "
        "ArgumentDefaultsHelpFormatter RawDescriptionHelpFormatter RawTextHelpFormatter MetavarTypeHelpFormatter "
        "Namespace Action ONE_OR_MORE OPTIONAL PARSER REMAINDER SUPPRESS ZERO_OR_MORE"
    ),
    "array": None,
    "ast": None,
    "asyncio": (
        "sleep gather wait wait_for timeout timeout_at Timeout run create_task TaskGroup Task Future Queue "
        "PriorityQueue LifoQueue QueueEmpty QueueFull QueueShutDown Event Lock Semaphore BoundedSemaphore "
        "Condition Barrier BrokenBarrierError as_completed shield current_task all_tasks iscoroutine "
        "iscoroutinefunction isfuture CancelledError TimeoutError InvalidStateError FIRST_COMPLETED "
        "FIRST_EXCEPTION ALL_COMPLETED Runner ensure_future to_thread get_running_loop get_event_loop "
        "new_event_loop set_event_loop AbstractEventLoop Handle TimerHandle wrap_future run_coroutine_threadsafe"
    ),
    "base64": (
        "b16decode b16encode b32decode b32encode b32hexdecode b32hexencode b64decode b64encode b85decode "
        "b85encode a85decode a85encode z85decode z85encode decodebytes encodebytes standard_b64decode "
        "standard_b64encode urlsafe_b64decode urlsafe_b64encode"
    ),
    "binascii": None,
    "bisect": ("bisect bisect_left bisect_right insort insort_left insort_right"),
    "bz2": "compress decompress BZ2Compressor BZ2Decompressor",
    "calendar": None,
    "cmath": None,
    "codecs": (
        "encode decode getencoder getdecoder getincrementalencoder getincrementaldecoder getreader getwriter lookup "
        "lookup_error register_error iterencode iterdecode EncodedFile "
        "BOM BOM_UTF8 BOM_UTF16 BOM_UTF16_BE BOM_UTF16_LE BOM_UTF32 BOM_UTF32_BE BOM_UTF32_LE BOM_BE BOM_LE "
        "Codec CodecInfo IncrementalEncoder IncrementalDecoder BufferedIncrementalEncoder BufferedIncrementalDecoder "
        "StreamWriter StreamReader StreamReaderWriter StreamRecoder "
        "ascii_decode ascii_encode charmap_build charmap_decode charmap_encode escape_decode escape_encode "
        "latin_1_decode latin_1_encode raw_unicode_escape_decode raw_unicode_escape_encode unicode_escape_decode "
        "unicode_escape_encode utf_7_decode utf_7_encode utf_8_decode utf_8_encode utf_16_decode utf_16_encode "
        "utf_32_decode utf_32_encode "
        "strict_errors ignore_errors replace_errors xmlcharrefreplace_errors backslashreplace_errors "
        "namereplace_errors"
    ),
    "collections": None,
    "collections.abc": None,
    "colorsys": None,
    "concurrent.futures": (
        "ThreadPoolExecutor Executor Future as_completed wait FIRST_COMPLETED FIRST_EXCEPTION ALL_COMPLETED "
        "CancelledError TimeoutError InvalidStateError BrokenExecutor"
    ),
    "configparser": None,
    "contextlib": None,
    "contextvars": None,
    "copy": "copy deepcopy replace Error error",
    "csv": None,
    "dataclasses": None,
    "datetime": None,
    "decimal": None,
    "difflib": None,
    "enum": None,
    "errno": None,
    "fnmatch": None,
    "fractions": None,
    "functools": None,
    "graphlib": None,
    "gzip": "compress decompress BadGzipFile",
    "hashlib": None,
    "heapq": ("heappush heappop heapify heapreplace heappushpop merge nlargest nsmallest"),
    "hmac": "new compare_digest digest HMAC",
    "html": None,
    "html.entities": None,
    "html.parser": "HTMLParser",
    "http": "HTTPStatus HTTPMethod",
    "inspect": (
        "signature Signature Parameter BoundArguments cleandoc getdoc isabstract isasyncgen "
        "isasyncgenfunction isawaitable isbuiltin isclass iscoroutine iscoroutinefunction isdatadescriptor "
        "isfunction isgenerator isgeneratorfunction ismethod ismethoddescriptor ismodule isroutine getmro "
        "unwrap getfullargspec FullArgSpec get_annotations getmembers isframe iscode istraceback isgetsetdescriptor "
        "ismemberdescriptor ismethodwrapper getgeneratorstate GEN_CREATED GEN_RUNNING GEN_SUSPENDED GEN_CLOSED "
        "getcoroutinestate CORO_CREATED CORO_RUNNING CORO_SUSPENDED CORO_CLOSED"
    ),
    "io": (
        "StringIO BytesIO text_encoding TextIOBase TextIOWrapper BufferedIOBase RawIOBase IOBase BufferedReader "
        "BufferedWriter BufferedRandom BufferedRWPair IncrementalNewlineDecoder UnsupportedOperation "
        "BlockingIOError SEEK_SET SEEK_CUR SEEK_END DEFAULT_BUFFER_SIZE"
    ),
    "ipaddress": None,
    "itertools": None,
    "json": ("dump dumps load loads JSONDecoder JSONDecodeError JSONEncoder detect_encoding"),
    "json.decoder": "JSONDecoder JSONDecodeError",
    "json.encoder": "JSONEncoder",
    "keyword": None,
    "locale": (
        "LC_ALL LC_COLLATE LC_CTYPE LC_MONETARY LC_NUMERIC LC_TIME atof atoi currency delocalize "
        "format_string getlocale getpreferredencoding localeconv localize normalize setlocale str strcoll "
        "strxfrm Error"
    ),
    "logging": (
        "CRITICAL DEBUG ERROR FATAL INFO NOTSET WARN WARNING Filter Formatter Handler LogRecord Logger "
        "LoggerAdapter NullHandler StreamHandler addLevelName basicConfig captureWarnings critical debug "
        "disable error exception fatal getLevelName getLogger info log warn warning getLevelNamesMapping "
        "makeLogRecord root BASIC_FORMAT BufferingFormatter PercentStyle StrFormatStyle StringTemplateStyle "
        "raiseExceptions getLoggerClass setLoggerClass"
    ),
    "lzma": (
        "compress decompress LZMACompressor LZMADecompressor LZMAError FORMAT_AUTO FORMAT_XZ FORMAT_ALONE "
        "FORMAT_RAW"
    ),
    "math": None,
    "numbers": None,
    "operator": None,
    "pathlib": ("PurePath PurePosixPath PureWindowsPath Path PosixPath UnsupportedOperation"),
    "pprint": None,
    "posixpath": (
        "normcase isabs join splitdrive split splitext basename dirname commonprefix normpath commonpath "
        "sep pathsep curdir pardir extsep altsep splitroot"
    ),
    "queue": None,
    "random": None,
    "re": None,
    "reprlib": None,
    "sched": None,
    "secrets": None,
    "shlex": "split join quote shlex",
    "statistics": None,
    "string": None,
    "struct": None,
    "textwrap": None,
    "threading": (
        "Thread Lock RLock Event Condition Semaphore BoundedSemaphore Barrier BrokenBarrierError Timer local "
        "current_thread main_thread active_count enumerate get_ident get_native_id ThreadError TIMEOUT_MAX"
    ),
    "time": None,
    "token": None,
    "tomllib": None,
    "traceback": (
        "format_exc format_exception format_exception_only format_list format_tb print_exc print_exception "
        "print_tb print_list print_stack format_stack extract_tb extract_stack TracebackException FrameSummary "
        "StackSummary"
    ),
    "types": (
        "SimpleNamespace MappingProxyType GenericAlias NoneType UnionType EllipsisType NotImplementedType "
        "FunctionType LambdaType MethodType BuiltinFunctionType BuiltinMethodType GeneratorType "
        "CoroutineType AsyncGeneratorType ModuleType TracebackType MethodWrapperType WrapperDescriptorType "
        "MethodDescriptorType ClassMethodDescriptorType GetSetDescriptorType MemberDescriptorType "
        "DynamicClassAttribute new_class resolve_bases prepare_class get_original_bases coroutine "
        "CapsuleType"
    ),
    "typing": None,
    "unicodedata": None,
    "urllib.parse": None,
    "uuid": (
        "UUID SafeUUID uuid1 uuid3 uuid4 uuid5 NAMESPACE_DNS NAMESPACE_OID NAMESPACE_URL NAMESPACE_X500 "
        "RESERVED_FUTURE RESERVED_MICROSOFT RESERVED_NCS RFC_4122"
    ),
    "warnings": (
        "warn catch_warnings filterwarnings simplefilter resetwarnings formatwarning warn_explicit deprecated"
    ),
    "weakref": None,
    "xml.dom.minidom": (
        "parseString getDOMImplementation Attr CDATASection CharacterData Comment DOMImplementation Document "
        "DocumentFragment DocumentType Element NamedNodeMap Node ProcessingInstruction Text"
    ),
    "xml.etree.ElementTree": (
        "C14NWriterTarget Comment Element ElementTree PI ParseError ProcessingInstruction QName SubElement TreeBuilder "
        "VERSION XML XMLID XMLParser XMLPullParser canonicalize dump fromstring fromstringlist indent iselement "
        "iterparse parse register_namespace tostring tostringlist"
    ),
    "xml.sax.saxutils": "escape unescape quoteattr",
    "zlib": None,
    "zoneinfo": "ZoneInfo ZoneInfoNotFoundError InvalidTZPathWarning available_timezones",
}
"""The default allowlist."""

ALSO: Final[dict[str, str]] = {
    "calendar": "mdays c different_locale prweek week format formatstring",
    "contextlib": "AsyncContextDecorator",
    "hashlib": "scrypt",
    "random": "_inst",
    "re": "DEBUG Scanner",
    "statistics": "LinearRegression",
    "urllib.parse": "uses_relative uses_netloc uses_params uses_query uses_fragment",
}
"""Names that programs use although the module's `__all__` has forgotten them."""

WITH_FILES: Final[dict[str, str]] = {"io": "open FileIO", "gzip": "open GzipFile", "bz2": "open BZ2File",
                                     "lzma": "open LZMAFile", "codecs": "open", "argparse": "FileType",
                                     "logging": "FileHandler"}  # fmt: skip
"""Names published on top when files are granted."""

WITHHELD: Final[dict[str, str]] = {
    "enum": "global_enum global_enum_repr global_flag_repr global_str",
    "typing": "re io",
    "weakref": "finalize",
    "statistics": "",
    "re": "template",
}
"""Public names that reach another module's namespace, or the interpreter's."""

SEALED_MODULES: Final = (
    "abc",
    "ast",
    "collections.abc",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "inspect",
    "io",
    "numbers",
    "traceback",
    "types",
    "typing",
)
"""Modules whose classes cannot be changed: the machinery that other classes and the library's own code are made of, and
the check of later source (`ast.Call._fields = ()` would hide the arguments of every call from it).

Not those that programs do change, such as `logging.Logger` and `json.JSONEncoder`.
"""

FORBIDDEN: Final[dict[str, str]] = {
    "os": "Use pathlib.PurePath or posixpath for paths; environment and processes are not available.",
    "os.path": "Use pathlib.PurePath or posixpath.",
    "ntpath": "Use pathlib.PureWindowsPath.",
    "sys": "Raise an exception to stop; take arguments as parameters of the tool.",
    "subprocess": "Call a library function instead: tools start no programs.",
    "importlib": "Use an import statement.",
    "imp": "Use an import statement.",
    "runpy": "Import the module and call its function.",
    "pkgutil": "Use an import statement.",
    "zipimport": "Use an import statement.",
    "builtins": "The builtins are there without an import.",
    "pickle": "Use json, or return the value: results cross as they are.",
    "cPickle": "Use json.",
    "dill": "Use json, or return the value.",
    "cloudpickle": "Use json, or return the value.",
    "marshal": "Use json.",
    "shelve": "Use a dict, and return it.",
    "dbm": "Use a dict, and return it.",
    "ctypes": "Use a package with a Python interface, allowed as a native package.",
    "cffi": "Use a package with a Python interface, allowed as a native package.",
    "gc": "Leave memory to the interpreter: the process ends with the call.",
    "code": "Write the code in the module.",
    "codeop": "Write the code in the module.",
    "pdb": "Print the values, or raise an exception with them.",
    "bdb": "Print the values, or raise an exception with them.",
    "pty": "Call a library function instead: tools start no programs.",
    "posix": "Use pathlib.PurePath or posixpath for paths.",
    "nt": "Use pathlib.PurePath.",
    "multiprocessing": "Make several calls: each one has a process of its own.",
    "signal": "Set a limit on the call (wall_s).",
    "faulthandler": "Set a limit on the call (wall_s).",
    "resource": "Set a limit on the call (wall_s, cpu_s, memory_mb).",
    "site": "Take settings as parameters of the tool.",
    "sysconfig": "Take settings as parameters of the tool.",
    "atexit": "Use a context manager or try/finally.",
    "tracemalloc": "Use the usage figures of the outcome.",
    "symtable": "Use ast.",
    "dis": "Use ast.",
    "opcode": "Use ast.",
    "unittest.mock": "Pass a stand-in as an argument.",
    "doctest": "Use assert.",
    "timeit": "Use time.perf_counter.",
    "cProfile": "Use time.perf_counter.",
    "profile": "Use time.perf_counter.",
    "trace": "Use print.",
    "linecache": "Use traceback.format_exc.",
    "copyreg": "Define __reduce__ or __deepcopy__ on the class.",
    "elf_pysandbox": "Call the function itself: a tool cannot start calls of its own.",
    "elf_pysandbox_worker": "Call the function itself: a tool cannot start calls of its own.",
    "RestrictedPython": "Leave it out: the policy is applied to the tool from outside.",
}
"""Module -> what to use instead. Never had in this profile, not even when listed: they hand out the
interpreter.
"""


NETWORK: Final = "Fetch the data outside and pass it as an argument: tools have no network."
TERMINAL: Final = "Take the values as parameters and return the result: there is no terminal and no display."

USELESS: Final[dict[str, str]] = {
    **dict.fromkeys(
        words(
            """
aiohttp anthropic boto3 botocore ftplib google.cloud grpc http.client http.cookiejar http.server httplib2 httpx
imaplib kafka nntplib openai paramiko playwright poplib psycopg psycopg2 pycurl pymongo pymysql redis requests
scrapy selectors selenium smtplib socket socketserver ssl telnetlib tornado urllib.request urllib.robotparser
urllib3 websocket websockets wsgiref.simple_server xmlrpc.client xmlrpc.server
"""
        ),
        NETWORK,
    ),
    **dict.fromkeys(
        words("cmd curses getpass readline rlcompleter termios tkinter tty turtle webbrowser"), TERMINAL
    ),
}
"""Module -> what to use instead. May be listed as any other, but can do nothing in a tool of any profile."""


def useless_hint(name: str) -> str | None:
    """Return what to use instead of a module that can do nothing in a tool, or None when it is none of those."""
    while name:
        if name in USELESS:
            return USELESS[name]
        name = name.rpartition(".")[0]
    return None


def forbidden_hint(name: str) -> str | None:
    """Return what to use instead of a module that is never had, or None when it is none of those."""
    while name:
        if name in FORBIDDEN:
            return FORBIDDEN[name]
        if name.startswith("_") and name != "__future__" and name != "__main__":
            return "Use the public module of the standard library."
        name = name.rpartition(".")[0]
    return None
