"""The verbs with their forms and what they govern. One entry a line, frequent ones first; no code.

    english forms | German forms | subjects | complements | marks

English: base, past, participle; only those that are irregular, comma-separated. Of several words the first inflects
(get up, got). A particle after "+" follows a short object (turns the light off).
German: infinitive, and for strong verbs 3rd person singular present and past, and participle; "*" marks the auxiliary
sein. "an/rufen" is separable, "sich" reflexive, "Angst:haben" an idiom with its fixed part first.
Subjects and complements are lists of noun kinds ("person" is all of relative, people and professional; see
`lexicon.GROUPS`). Complements, in English order, separated by ";":
    A kinds                 accusative object
    D kinds                 dative object
    for=auf+A kinds         prepositional object: English preposition = German preposition + case; either may be missing
    BARE kinds              object without article in German (plays the piano: spielt Klavier)
    TO kinds                direction ("to the station"), by the kind of place or person
    AT kinds                location ("in the kitchen"), by the kind of place
    ONTO / ON kinds         two-way preposition with accusative (puts on the table) / dative (lies on the table)
Marks: s stative (no progressive, no manner), i involuntary (no imperative, no infinitive of purpose), p has a passive,
l takes a free location, n is not negated, v object of the English verb is the German
subject (gefallen), d lasts (has been waiting for two hours).
One English verb may have several entries if their subjects or complements differ in kind: that is a choice of words
which depends on context.
"""

VERBS = """
see, saw, seen | sehen sieht sah gesehen | person | A person part edge animal car transport building visual | si
buy, bought | kaufen | person | A food dish drink clothing text flat upright small car device toy plant surface | p
have, had | haben | person | A car animal device toy small | sid
go, went, gone | gehen geht ging gegangen * | person | TO venue shop room area ground professional |
go, went, gone | fahren fährt fuhr gefahren * | person | TO city country |
read, read, read | lesen liest las gelesen | person | A text story | pld
live | wohnen | person | AT city | sd
live | leben | person | AT country | sd
eat, ate, eaten | essen isst aß gegessen | person | A food dish | pl
eat, ate, eaten | fressen frisst fraß gefressen | animal | A food dish |
give, gave, given | geben gibt gab gegeben | person | D person; A text flat small toy upright food |
know, knew, known | kennen kennt kannte gekannt | person | A person feature authorship city story area visual | sid
like | mögen mag mochte gemocht | person | A person animal food dish drink sport | si
like | gefallen gefällt gefiel gefallen | person | A clothing music story show visual building | siv
write, wrote, written | schreiben schreibt schrieb geschrieben | person | A text story | pld
help | helfen hilft half geholfen | person | D person |
find, found | finden findet fand gefunden | person | A text flat small clothing toy upright animal | ip
drink, drank, drunk | trinken trinkt trank getrunken | person | A drink | l
work | arbeiten | person | AT venue shop room city country ground | d
work | funktionieren | device | | i
wait | warten | person | for=auf+A person transport | ld
put, put, put | stellen | person | A upright; ONTO surface cupboard_ box_ fridge_ |
put, put, put | legen | person | A text flat clothing; ONTO surface cupboard_ box_ drawer_ suitcase_ basket_ |
put, put, put | stecken | person | A small; ONTO bag_ rucksack_ envelope_ |
show, showed, shown | zeigen | person | D person; A text visual flat small room building toy |
visit | besuchen | person | A person city venue country palace_ zoo_ | p
take, took, taken | nehmen nimmt nahm genommen | person | A text flat small toy food upright transport |
meet, met | treffen trifft traf getroffen | person | A person | l
look | suchen | person | for=+A luggage_ text flat small clothing animal toy shop | ld
sleep, slept | schlafen schläft schlief geschlafen | person animal | | ld
ask | fragen | person | A person | n
ask | bitten bittet bat gebeten | person | A person; for=um+A drink money_ | n
call | an/rufen ruft rief gerufen | person | A person |
come, came, come | kommen kommt kam gekommen * | person | to=zu+D event |
sell, sold | verkaufen | person | A car device surface building text clothing visual plant | p
tell, told | erzählen | person | D person; A story |
think, thought | denken denkt dachte gedacht | person | of=an+A person event problem idea animal |
talk | sprechen spricht sprach gesprochen | person | about=über+A problem idea person event show story | d
speak, spoke, spoken | sprechen spricht sprach gesprochen | person | A language | si
play | spielen | person | BARE sport instrument | nd
play | spielen | person animal | with=mit+D toy animal | ld
learn | lernen | person | A language subject | d
study, studied | studieren | person | A subject | nd
open | öffnen | person | A opening suitcase_ box_ drawer_ envelope_ bottle_ cupboard_ | p
close | schließen schließt schloss geschlossen | person | A opening | p
love | lieben | person | A person animal dish city country sport | sid
hear, heard | hören | person | A noise_ music animal transport | si
listen | hören | person | to=+A music | l
listen | zu/hören | person | to=+D person |
watch | sehen sieht sah gesehen | person | A show | l
watch | beobachten | person | A person animal | d
get up, got | auf/stehen steht stand gestanden * | person | |
arrive | an/kommen kommt kam gekommen * | transport person | | i
leave, left | ab/fahren fährt fuhr gefahren * | transport | | i
leave, left | verlassen verlässt verließ verlassen | person | A city building room country venue |
build, built | bauen | person group | A building car_ | pd
repair | reparieren | person | A device part car surface | p
cook | kochen | person | A cookable | l
bake | backen bäckt backte gebacken | person | A baked | p
forget, forgot, forgotten | vergessen vergisst vergaß vergessen | person | A text authorship small idea event | in
lose, lost | verlieren verliert verlor verloren | person | A small text clothing toy | in
bring, brought | bringen bringt brachte gebracht | person | D person; A food drink upright text flat small flower_ |
send, sent | schicken | person | D person; A text visual small |
explain | erklären | person | A idea problem; to=+D person |
invite | ein/laden lädt lud geladen | person | A person; to=zu+D event | p
pick + up | ab/holen | person | A person |
turn + on | ein/schalten | person | A device | p
turn + off | aus/schalten | person | A device | p
travel, travelled | reisen * | person | TO city country |
drive, drove, driven | fahren fährt fuhr gefahren * | person | TO city country stop shop |
fly, flew, flown | fliegen fliegt flog geflogen * | person | TO city country |
run, ran, run | laufen läuft lief gelaufen * | person animal | TO stop shop area shore room |
sit, sat | sitzen sitzt saß gesessen | person | AT room venue area ground | d
lie, lay, lain | liegen liegt lag gelegen | text flat clothing small | ON surface cupboard_ box_ drawer_ suitcase_ | i
stand, stood | stehen steht stand gestanden | upright | ON surface cupboard_ fridge_ box_ | i
stay | bleiben bleibt blieb geblieben * | person | AT room city country venue | d
wear, wore, worn | tragen trägt trug getragen | person | A clothing | d
carry | tragen trägt trug getragen | person | A container luggage_ surface baby_ bucket_ ladder_ |
put + on, put, put | an/ziehen zieht zog gezogen | person | A garment |
put + on, put, put | auf/setzen | person | A hat_ cap_ |
take + off, took, taken | aus/ziehen zieht zog gezogen | person | A garment |
take + off, took, taken | ab/nehmen nimmt nahm genommen | person | A hat_ cap_ |
clean | putzen | person | A opening room shoe_ boot_ | p
tidy + up | auf/räumen | person | A room desk_ cupboard_ |
need | brauchen | person | A device flat small car clothing answer_ person | si
use | benutzen | person | A device flat car method_ | p
belong | gehören | text flat clothing small car building toy animal | to=+D person | si
answer | beantworten | person | A question_ letter_ | p
answer | antworten | person | D person |
solve | lösen | person | A problem | p
understand, understood | verstehen versteht verstand verstanden | person | A problem idea text | si
thank | danken | person | D person; for=für+A text food visual plant proposal_ |
follow | folgen * | person animal | D person animal |
trust | vertrauen | person | D person group | sd
believe | glauben | person | D person | s
congratulate | gratulieren | person | D person; on=zu+D occasion wedding_ |
laugh | lachen | person | at=über+A joke_ person show |
dream | träumen | person | of=von+D country animal car event | i
look forward | sich freuen | person | to=auf+A event music_ | s
remember | sich erinnern | person | =an+A event person story show | si
be interested, was, been | sich interessieren | person | in=für+A subject animal show plant | si
be afraid, was, been | Angst:haben | person | of=vor+D animal event professional | sin
be proud, was, been | stolz:sein ist war gewesen * | person | of=auf+A relative group building car | si
be satisfied, was, been | zufrieden:sein ist war gewesen * | person | with=mit+D result_ device car idea | si
complain | sich beschweren | person | about=über+A cause dish group problem |
take care, took, taken | sich kümmern | person | of=um+A animal relative plant people |
apologise | sich entschuldigen | person | for=für+A mistake_ noise_ |
get used, got | sich gewöhnen | person | to=an+A cause rule_ device animal | i
fall in love, fell, fallen | sich verlieben | person | with=in+A prince_ | i
prepare | sich vor/bereiten | person | for=auf+A event | d
take part, took, taken | teil/nehmen nimmt nahm genommen | person group | in=an+D event |
get dressed, got | sich an/ziehen zieht zog gezogen | person | |
hurry | sich beeilen | person | |
sit down, sat | sich setzen | person | | l
fall asleep, fell, fallen | ein/schlafen schläft schlief geschlafen * | person animal | | il
wake up, woke, woken | auf/wachen * | person animal | | i
come back, came, come | zurück/kommen kommt kam gekommen * | person animal | |
go away, went, gone | weg/gehen geht ging gegangen * | person | |
run away, ran, run | weg/laufen läuft lief gelaufen * | animal person | |
go shopping, went, gone | ein/kaufen | person | | l
move in, moved | ein/ziehen zieht zog gezogen * | person | |
give + back, gave, given | zurück/geben gibt gab gegeben | person | A text small toy car flat; to=+D person |
take + along, took, taken | mit/nehmen nimmt nahm genommen | person | A flat container clothing animal person |
bring + along, brought | mit/bringen bringt brachte gebracht | person | A drink food relative dog_ |
throw + away, threw, thrown | weg/werfen wirft warf geworfen | person | A text clothing upright toy | p
write + down, wrote, written | auf/schreiben schreibt schrieb geschrieben | person | A word_ story recipe_ idea |
fill + in | aus/füllen | person | A form_ | p
offer | an/bieten bietet bot geboten | person | D person; A drink food dish |
suggest | vor/schlagen schlägt schlug geschlagen | person | A solution_ method_ title_ | p
reject | ab/lehnen | person group | A proposal_ plan_ solution_ | p
accept | an/nehmen nimmt nahm genommen | person group | A proposal_ plan_ | p
cancel, cancelled | ab/sagen | person group | A event | p
lock | ab/schließen schließt schloss geschlossen | person | A opening car | p
stop, stopped | an/halten hält hielt gehalten | person | A transport car |
stop, stopped | an/halten hält hielt gehalten | transport car | | i
begin, began, begun | an/fangen fängt fing gefangen | event show | | i
end | enden | event show | | i
take place, took, taken | statt/finden findet fand gefunden | event | | i
get on, got | ein/steigen steigt stieg gestiegen * | person | =in+A transport |
get off, got | aus/steigen steigt stieg gestiegen * | person | =aus+D transport |
read + out, read, read | vor/lesen liest las gelesen | person | A text story; to=+D person |
introduce | vor/stellen | person | A person; to=+D person |
get to know, got | kennen/lernen | person | A person |
win, won | gewinnen gewinnt gewann gewonnen | person group | A competition_ election_ match_ | i
miss | verpassen | person | A transport event show | in
miss | vermissen | person | A person animal city | si
paint | malen | person | A painted | p
draw, drew, drawn | zeichnen | person | A animal edge part building plant map_ |
wash | waschen wäscht wusch gewaschen | person | A clothing towel_ car | p
break, broke, broken | zerbrechen zerbricht zerbrach zerbrochen | person | A breakable | ip
steal, stole, stolen | stehlen stiehlt stahl gestohlen | person | A small car visual device clothing | p
hide, hid, hidden | verstecken | person | A small text toy; ON surface cupboard_ box_ drawer_ bag_ suitcase_ | p
teach, taught | unterrichten | person | A language subject | d
translate | übersetzen | person | A text story | p
sign | unterschreiben unterschreibt unterschrieb unterschrieben | person | A contract_ form_ letter_ | p
describe | beschreiben beschreibt beschrieb beschrieben | person | A person feature part edge visual room | p
pay, paid | bezahlen | person | A bill_ | p
order | bestellen | person | A pizza_ drink text dish food device | p
cut, cut, cut | schneiden schneidet schnitt geschnitten | person | A bread_ food rope_ |
feed, fed | füttern | person | A animal baby_ | p
plant | pflanzen | person | A plant | p
water | gießen gießt goss gegossen | person | A plant | p
sing, sang, sung | singen singt sang gesungen | person group | A song_ melody_ | ld
dance | tanzen | person | | ld
swim, swam, swum | schwimmen schwimmt schwamm geschwommen * | person animal | | d
smile | lächeln | person | |
cry | weinen | person | | l
laugh | lachen | person | | l
smoke | rauchen | person | | l
have breakfast, had | frühstücken | person | | l
bark | bellen bellt bellte gebellt | dog_ | |
bite, bit, bitten | beißen beißt biss gebissen | animal | A person |
catch, caught | fangen fängt fing gefangen | animal person | A animal ball_ |
hunt | jagen | hunter_ lion_ wolf_ | A animal |
bloom | blühen | plant | | i
grow, grew, grown | wachsen wächst wuchs gewachsen * | plant | | i
burn | brennen brennt brannte gebrannt | building | | i
disappear | verschwinden verschwindet verschwand verschwunden * | person animal small | | i
die | sterben stirbt starb gestorben * | person animal | | i
save | retten | person | A person animal | p
arrest | verhaften | police_officer_ | A thief_ driver_ man_ | p
examine | untersuchen | doctor_ dentist_ | A patient_ animal | p
protect | beschützen | person animal | A person animal |
greet | begrüßen | person | A person |
kiss | küssen | person | A relative people |
hug | umarmen umarmt umarmte umarmt | person | A relative people |
marry | heiraten | person | A professional princess_ |
admire | bewundern | person | A visual professional building | si
surprise | überraschen | person | A person | p
disturb | stören | person noise_ | A person event | i
organise | organisieren | person group | A event | p
celebrate | feiern | person group | A birthday_ | p
discuss | besprechen bespricht besprach besprochen | person group | A problem idea | p
check | prüfen | person | A text result_ answer_ passport_ device | p
lend, lent | leihen leiht lieh geliehen | person | D person; A text car flat clothing container |
rent | mieten | person | A flat_ car boat_ | p
collect | sammeln | person | A stamp_ coin_ postcard_ mushroom_ | d
pick | pflücken | person | A fruit_ flower_ |
cross | überqueren | person animal | A way bridge_ river_ | p
climb | besteigen besteigt bestieg bestiegen | person | A mountain_ |
reach | erreichen | person | A city edge open island_ transport | i
enter | betreten betritt betrat betreten | person | A room building venue |
discover | entdecken | person | A mistake_ island_ secret_ method_ | ip
destroy | zerstören | storm_ | A building | ip
hang, hung | hängen | person | A visual clothing mirror_; on=an+A wall |
hang, hung | hängen hängt hing gehangen | visual | on=an+D wall | s
prefer, preferred | bevorzugen | person | A drink dish clothing music | si
recommend | empfehlen empfiehlt empfahl empfohlen | person | D person; A recommended | p
keep, kept | behalten behält behielt behalten | person | A money_ small toy secret_ text |
hate | hassen | person | A rule_ noise_ rain_ cold_ person | si
try, tried | probieren | person | A food dish drink |
print | drucken | person | A text | p
publish | veröffentlichen | person group | A text story result_ | p
change | ändern | person group | A plan_ law_ rule_ | p
apply | sich bewerben bewirbt bewarb beworben | person | for=um+A job_ |
fight, fought | kämpfen | person | against=gegen+A animal giant_ | d
suffer | leiden leidet litt gelitten | person | from=unter+D heat_ cold_ noise_ weather_ | id
contradict | widersprechen widerspricht widersprach widersprochen | person | D person | i
obey | gehorchen | animal person | D person |
forgive, forgave, forgiven | verzeihen verzeiht verzieh verziehen | person | D person |
ring, rang, rung | klingeln | phone_ | | i
push | schieben schiebt schob geschoben | person | A car_ surface |
pull | ziehen zieht zog gezogen | person animal | A container rope_ |
lift | heben hebt hob gehoben | person | A container surface |
throw, threw, thrown | zu/werfen wirft warf geworfen | person | A ball_; to=+D person |
move | um/ziehen zieht zog gezogen * | person | TO city country |
return | zurück/kehren * | person | TO city country |
"""

# Verbs that sentences name themselves: no subjects and complements.
AUXILIARY_VERBS = """
be, was, been | sein ist war gewesen * | | | s
become, became, become | werden wird wurde geworden * | | | s
cost, cost, cost | kosten | | | s
last | dauern | | | s
hurt, hurt, hurt | weh/tun tut tat getan | | | s
know, knew, known | wissen weiß wusste gewusst | | | s
"""

# With a clause with that: dass.
SAYING_VERBS = """
know, knew, known | wissen weiß wusste gewusst | | | s
say, said | sagen | | | s
think, thought | glauben | | | s
hope | hoffen | | | s
believe | glauben | | | s
see, saw, seen | sehen sieht sah gesehen | | | s
hear, heard | hören | | | s
notice | bemerken | | | s
claim | behaupten | | | s
write, wrote, written | schreiben schreibt schrieb geschrieben | | | s
fear | befürchten | | | s
explain | erklären | | | s
"""

# With an indirect question.
ASKING_VERBS = """
know, knew, known | wissen weiß wusste gewusst | | | s
ask | fragen | | | s
"""

# With an infinitive: zu.
TRYING_VERBS = """
try, tried | versuchen | | |
decide | beschließen beschließt beschloss beschlossen | | |
promise | versprechen verspricht versprach versprochen | | |
hope | hoffen | | |
plan, planned | planen | | |
"""
