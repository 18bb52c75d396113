"""The words by which a sentence tells an answer: states it, leans towards one, denies one, or refuses.

Patterns are matched against a sentence's words joined by single spaces, with ``@i`` for a mention of option ``i``.
Every repetition in them is bounded, so that a search takes time linear in the sentence.
"""

from __future__ import annotations

import re

from sari_data.mentions import MARKS
from sari_data.wording import word_set

LINK = (
    r"(?:(?:is|was|are|were|(?:would|will|should|must|could|may|might|has to|have to)(?: most| also)?(?: likely"
    r"| probably)? be|"
    r"seems?(?: to be)?|appears?(?: to be)?|becomes|remains)(?! not\b)|:|=|\()"
)
HEAD = r"(?:answers?|option|choice|selection|response|guess|verdict|pick|conclusion)"
STATES_CUE = re.compile(
    rf"\b{HEAD}(?!(?<=option) \(? ?[a-z0-9] )(?!(?<=choice) \(? ?[a-z0-9] )(?: (?!not\b|cannot\b|never\b"
    rf"|neither\b|{HEAD}\b|[.?!](?: |$))\S+){{0,14}}? {LINK}(?= |$)"
    r"|\b(?:it|this|that) (?:is|must be|would be) (?=[a-z] (?:[.,!] ?$|$)|[a-z]$|[a-z] [.,])"
    r"|\b(?:so|thus|therefore|hence)(?: maybe)? (?=[a-hj-z] (?:[.,!] ?$|$)|[a-hj-z]$)"
    r"|(?<!options )(?<!choices ): (?=[a-hj-z](?: \.)?$)"
    r"|^(?:so |so , )?going with(?= )|\b(?:correct|right) one (?:is|would be|must be|has to be|:)(?= )"
    r"|\b(?:vote (?:is )?for|bet(?:ting)? (?:is )?on|money (?:is )?on|vote goes to|lean(?:ing)? toward(?:s)?"
    r"|going for|go for|settle (?:on|for)|settling (?:on|for)|inclined (?:to|toward|towards)(?: (?:say|choose|pick"
    r"|select))?)(?= )"
    rf"|\banswer (?=(?:\( )?[a-z](?: \))?(?: [.,:]|$))"
    r"|\b(?:i|we|i will|i would|i am|we should|let us|let me)(?: (?:will|would|must|should|have to|therefore|am))?"
    r" (?:choose|chose|pick|select|go with|going with|opt for|answer|choosing|picking|selecting|settle on)"
    r"(?: with)?(?: that)?(?= )|\b(?:choosing|selecting|selected|chosen|choose|select) (?=\(? ?(?:option|choice"
    r"|@|[a-z] \)))"
)
# The cues among them that draw a conclusion, whatever stands before: "It is not clear, so C."
DRAWING = ("so", "thus", "therefore", "hence")
# One of these words stands in whatever the patterns find: most sentences have none, and are not searched.
STATING = word_set(
    "answer answers option options choice choices selection response guess verdict pick conclusion choose one vote "
    "bet "
    "betting money lean leaning inclined settling chose select go opt choosing picking selecting selected chosen "
    "settle going it this that so thus therefore hence :"
)
RATING = word_set(
    "correct right answer option choice best fit match likely plausible appropriate suitable accurate "
    "reasonable probable fitting supported 1"
)
LACKING = word_set(
    "cannot not neither unable impossible possible difficult hard unknown unclear uncertain undetermined "
    "indeterminate sorry insufficient sufficient without ai none no n unavailable"
)
TELLING = STATING | RATING | LACKING
OF_ANOTHER = word_set("wrong incorrect other another false remaining not no unlikely eliminated each")
RIGHT_CUE = re.compile(
    r"(?:is|was|are|would be|must be|will be|seems to be|appears to be|seems|appears|should be|has to be)"
    r"(?: (?:the|a|an|most|more|very|best|only|clearly|therefore|thus|indeed|definitely|likely|our|my|final|overall"
    r"|single|obviously|probably|also))*"
    r" (?:correct|right|answer|option|choice|best|fit|match|likely|plausible|appropriate|suitable|accurate"
    r"|reasonable"
    r"|probable|fitting|supported|1 (?:that )?(?:i|we) (?:would )?(?:choose|pick|select|prefer))\b"
)
CONCLUDES_CUE = re.compile(
    r"^(?:\W+ )?(?:so|therefore|thus|hence|overall|in conclusion|in summary|to conclude|to sum up|consequently"
    r"|ultimately"
    r"|conclusion|finally)\b|\b(?:therefore|thus|hence)\b|\b(?:conclude|infer|deduce)(?:d|s)?\b"
    r"|\bmost (?:likely|probabl[ey]"
    r"|plausibl[ey]|appropriate|suitable|consistent|fitting|closely|reasonable)\b"
    r"|\bbest (?:described|understood|summari[sz]ed|classified|categori[sz]ed|matche?[sd]?|fits?|fit"
    r"|characteri[sz]ed|guess|option|choice|suited|represented)\b"
    r"|\bmust be\b|\b(?:has|got) to be\b|\bcan only be\b|\b(?:that|this|which) (?:only )?leaves\b|\bleaving\b"
    r"|\bleaves (?:us|only|me)\b|\bleft with\b|\b(?:process of|by) elimination\b|\bin (?:short|the end)\b"
    r"|\ball in all\b"
    r"|, so (?!that\b|as\b|far\b|many\b|much\b|on\b|forth\b|not\b|is\b|are\b|does\b)|\b(?:this|which) means\b"
    r"|\b(?:i|we) would (?:therefore |thus |then )?say\b|\bmaking (?:it|this)\b|\bmakes? (?:it|this)\b"
    r"|(?=@\d+ (?:\S+ ){0,2}(?:in total|altogether|in all)\b)|\b(?=only (?:the )?@\d+ (?:fits?|matches|remains|works"
    r"|left))"
    r"|\b(?:a|in) total of\b|\btotal is\b|(?=@\d+ (?:is|are) left\b)"
    r"|(?=@\d+ (?:it is|wins|comes out on top|has the edge)\b)"
    r"|^(?:(?:and|but|so|well|now|still) ,? ?)?(?:for (?:all )?(?:of )?(?:this|that|these|those|the above) reasons?"
    r"|(?:taking|weighing|putting|considering|adding|having considered) (?:all|everything|it|this|that|these"
    r"|both|the above)"
    r"|(?:all (?:of )?(?:this )?)?taken together|with (?:all )?(?:of )?(?:this|that|these) in mind"
    r"|(?:in|on|under|given|based on|judging (?:by|from)) (?:(?:the )?(?:light|view|basis|strength|account"
    r"|consideration)"
    r" (?:of )?)?(?:all )?(?:of )?(?:this|that|these|those|the above)(?: ,| (?:basis|grounds?|evidence|account"
    r"|information"
    r"|clues?|reasoning|analysis|observations?|circumstances|facts?|considerations?|indications?|details|features)\b)"
    r"|in (?:light|view) of\b|on (?:the )?(?:balance|whole)\b|in sum\b|in brief\b|in essence\b|in a word\b|all told\b"
    r"|altogether ,|accordingly\b|(?:by|as a|in) consequence\b|all things considered|everything considered|simply put"
    r"|bottom line|to (?:answer|summari[sz]e|recap|wrap up|put it)\b|it follows\b|by exclusion\b)"
    r"|\b(?:i|we) (?:am|are|feel|remain)(?: (?:fairly|quite|pretty|very|reasonably|rather|relatively|almost|nearly"
    r"|therefore|thus|absolutely|completely|so))? (?:confident|certain|sure|convinced|positive"
    r"|satisfied)\b(?! (?:if|whether"
    r"|which|what|about))|\b(?:no|little) doubt (?:that|about)\b|\bsumming up\b|\b(?:i|we) arrive at\b"
    r"|\bdealing with\b|\b(?:leads?"
    r"|brings?|led) (?:me|us) to\b"
    r"|\bcan only mean\b|(?=@\d+ (?:is|was) (?:the 1|what) (?:(?:that|which|who) )?(?:remains|is left|i|we"
    r"|fits|matches|suits)\b)|\bconsequently\b"
)
# Of these words one stands in whatever CONCLUDES_CUE finds.
CONCLUDING = word_set(
    "so therefore thus hence overall conclusion summary sum consequently ultimately finally conclude concluded "
    "concludes infer inferd infers deduce deduced deduces most best must has got can leaves leaving left elimination "
    "by in "
    "all total altogether say only means making makes it for taking weighing putting considering adding having taken "
    "with on under given based judging accordingly consequence everything simply bottom follows confident certain sure "
    "convinced positive satisfied doubt summing arrive dealing lead leads bring brings led mean is was wins comes edge"
)
LEANS_CUE = re.compile(
    r"\b(?:likely|probabl[ey]|suggest(?:s|ing)?|indicat(?:e|es|ing)|points? (?:to|towards?)|consistent with"
    r"|sounds? like"
    r"|(?:i|we) (?:believe|guess|hear|say)|hallmarks? of|more like|think|(?<!as )(?<!as it )(?:appears"
    r"|seems)(?: to be)?(?! (?:before"
    r"|after)\b)"
    r"|identified as"
    r"|match(?:es|ing)?"
    r"|corresponds? to|characteristic of|typical of|reminiscent of|indicative of|resembles|confirms|lean(?:s"
    r"|ing)? toward(?:s)?"
    r"|(?:classified|categori[sz]ed|recogni[sz]ed|described) as|aligns with|supports?|evidence (?:of|for))\b"
    r"|\bmakes? (?=@\d)|\b(?:speaks?|argues?) (?:\S+ )?(?:for|in favou?r of)\b|\bin my (?:opinion|view"
    r"|judge?ment|estimation)\b"
    r"|\bto my ears?\b|\bas far as i can (?:tell|hear|judge|make out)\b|\bit (?:is|becomes) (?:\S+ )?(?:clear"
    r"|evident|obvious"
    r"|apparent) that\b|\b(?:i|we) would (?:describe|identify|call|classify|characteri[sz]e|place|put|date)\b"
)
# Of these words one stands in whatever LEANS_CUE finds.
LEANING = word_set(
    "likely probable probably suggest suggests suggesting indicate indicates indicating point points consistent "
    "sound "
    "sounds believe guess hear say think appears seems identified match matches matching correspond corresponds "
    "characteristic typical make makes reminiscent indicative resembles confirms lean leans leaning classified "
    "categorized "
    "categorised more hallmark hallmarks recognized recognised described aligns support supports evidence speak speaks "
    "argue argues my clear evident obvious apparent can would"
)
REFUSES_CUE = re.compile(
    r"\b(?:cannot|could not|can neither|unable to|not able to|impossible to|not possible to|not sufficient to"
    r"|not enough to"
    r"|difficult to|hard to|do not|does not) "
    r"(?:(?:be|really|accurately|definitively|definitely|confidently|reliably|precisely|exactly|possible|to"
    r"|provide|an|the|"
    r"which|say|tell|with|certainty) ){0,4}?"
    r"(?:determined?|tell|told|identify|identified|answer(?:ed)?|know|known|conclude|infer|inferred|assist"
    r"|decide|sure"
    r"|specified|discern(?:ed)?|ascertain(?:ed)?|certain|hear the|listen|help)\b"
    r"|\banswer (?:is|remains|would be|to this question is|cannot be|can not be)"
    r"(?: therefore| likely| still| then)? (?:not )?(?:unknown|unclear|uncertain|undetermined|indeterminate"
    r"|unavailable"
    r"|determined|clear|known|given|provided|specified|available|determinable|certain)\b"
    r"|\bnot (?:sure|certain|specified|stated|determinable|known)\b|\b(?:not enough|insufficient|no sufficient"
    r"|without (?:more|further|additional|hearing|access|listening))\b"
    r"|^(?:unknown|unclear|uncertain|undetermined|indeterminate|n / a|not sure|sorry)\b|\bi am (?:sorry|not sure)\b"
    r"|\b(?:is|are|remains?) (?:unclear|unknown|uncertain)\b|\bas an ai\b|\b(?:unknown|undetermined"
    r"|indeterminate) (?:without|due|because|from|based)\b"
)
# Of these words one stands in whatever REFUSES_CUE finds.
REFUSING = word_set(
    "determine determined tell told identify identified answer answered know known conclude infer inferred assist "
    "decide sure specified discern discerned ascertain ascertained certain hear listen help stated determinable "
    "enough "
    "insufficient sufficient without unknown unclear uncertain undetermined indeterminate n sorry ai"
)
ABSENT_CUE = re.compile(
    r"\bnone of (?:the|these|them|those)(?: (?!other)\S+){0,2} (?:options?|choices|above|answers?|apply|are|is"
    r"|match|fits?|these|them)\b"
    r"|\bnot (?:among|in|one of|part of|listed|present among|included|any of|available"
    r"|an option)\b(?! \S+ \S+ @)|\bno correct\b"
)
NOT = word_set(
    "not no never cannot neither nor without except unlike excluding excludes exclude excluded than "
    "instead wrong incorrect false eliminate eliminates eliminated ruling rules ruled rule absence lacks "
    "lacking against opposed nothing hardly barely doubt doubts doubtful least whether if"
)
NOT_AFTER_CUE = re.compile(
    r"^(?!(?:[:(] )?not (?:the |an? )?@)(?:[:(] )?(?:(?:is|was|are|were|seems?|would|could|can|does|do|did|may|might"
    r"|has|have|be|been|also|being|option"
    r"|choice) )*"
    r"(?:not|unlikely|wrong|incorrect|less|excluded|eliminated|absent|cannot|ruled|neither|out of|never|out"
    r"|impossible|possible|false|(?:it |them )?wrong)\b|^: no\b"
    r"|^(?:influences?|elements?|undertones?|overtones|accompaniment|in the background|flavou?rs?)\b"
    r"|^(?:makes (?:no|the least|little)|would (?!be |make |fit |match |suit |explain |seem |best |most |likely "
    r"|also |have to"
    r"|then |therefore |probably |describe )|would (?:therefore |then |thus )?be (?:much |far |a lot )?(?:louder"
    r"|quieter|faster|slower|higher|lower"
    r"|deeper|different|sharper|softer|expected|more \S+ (?:in|and|than)|less|too)\b)"
)
BREAKS = word_set(
    "because since as which who due given based where when but although though however rather instead "
    "over compared unlike . ; ! ? if whereas"
)
FILLERS = word_set(
    "the a an option choice letter answer number most likely probably clearly definitely therefore thus "
    "indeed simply just that of be is are : ( [ \" ' < { = , / best correct right final either both with "
    "say to following more highly very actually also then , selected described"
)
JOINS = word_set(
    ", or and / : ) ( [ ] either both option choice the \" ' > maybe perhaps possibly even alternatively else"
)
AFTER_LETTER = word_set(
    "because since as which due given with based is or and not for in but from among where if to would seems matches"
)
LISTED = MARKS - frozenset(".!?:;=/") | {"or", "nor", "and", "any", "the"}
HAS = word_set(
    "that sound sounds noise noises consist consists consisting made composed type kind voice presence "
    "use is are was instance example form case recording group pair full combination sequence series key style genre "
    "tempo meter metre total accent one more sense feeling feelings full act process setting expression display hint "
    "signs "
    "sign language music piece song rhythm chord range middle mood trace tone's atmosphere number count"
)
STOPS = word_set(", ; . ! ? but so whereas however")
ALSO_CUE = re.compile(r"\b(?:could|might|may|can) also\b|\bpossibly\b.*\bor\b")
# What a sentence begins with that takes back what was said before it.
TURNING = word_set("no wait actually sorry correction")
# Before a mention these make it what something else is compared or related to: "X appears before the word Y".
RELATED = word_set("before after followed accompanied preceded backed alongside over compared")
RELATED_GAP = word_set("the a an word words sound of by to with \" '")
# What a sentence asks with, and what it begins with that only announces what comes.
ASKING = word_set("is are was were could can does do did what which who how should would might why where has have")
ANNOUNCING = word_set("consider considering listen recall imagine suppose compare analyze analyse examine")
# After "let us" and "i need to" these are an answer, whatever else is not.
DECIDING = word_set("go choose pick select say answer conclude settle opt")
WEIGHING_CUE = re.compile(
    r"\b(?:need|have|want|try|trying|going|asked|tasked) to (?:determine|decide|identify|figure|find|check|see|know"
    r"|tell"
    r"|listen|consider|verify|look|analy[sz]e|distinguish)\b|\bclaims? to\b|^(?:the )?question (?:asks|is)\b"
    r"|\bquestion (?:asks|is asking)\b"
)
# "If I had to choose, ..." is no condition.
FORCED = word_set("choose guess pick say answer select forced")
# A word of these before an option says how it is given, not that it is another thing.
FORE = word_set(
    "one some any this that these those his her its their my in at on by of to from about around only maybe perhaps"
)
# A refusal by what the model or the audio lacks; looked for only where a text gives nothing else.
LACKS_CUE = re.compile(
    r"\b(?:cannot|could not|unable to|not able to|do not have (?:the|any) (?:ability|capability|means|access) to"
    r"|not (?:the|any) ability to) (?:\S+ ){0,2}?(?:measure|assess|process|access|hear|listen|analy[sz]e|verify|play"
    r"|recogni[sz]e|distinguish|estimate|perceive|calculate|say)\b"
    r"|\bno (?:information|indication|mention|details?|data)\b|\bdoes not (?:\S+ ){0,1}?(?:enough|sufficient)\b"
    r"|\b(?:does|do|did|is|are|was) not (?:\S+ ){0,1}?(?:mention|provide|state|specify|contain any information"
    r"|mentioned|stated|given|provided|specified)\b"
)
TURNS_CUE = re.compile(
    r"\b(?:wait|actually|correction|on (?:second|2nd) thought|i was wrong|reconsider(?:ing)?|let me re|scratch that"
    r"|mistaken?"
    r"|upon re|after re|on reflection|re - ?listening|relistening|i misheard|changed? my)\b"
)
