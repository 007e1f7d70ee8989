package demo

type person struct{ email, name, role string }

// people are one of every role, the owner first.
var people = []person{
	{"maya@northwind.example", "Maya Lindqvist", "owner"},
	{"tomas@northwind.example", "Tomás Ferreira", "admin"},
	{"ines@northwind.example", "Inès Caron", "manager"},
	{"jonas@northwind.example", "Jonas Weber", "member"},
	{"aiko@northwind.example", "Aiko Tanaka", "member"},
	{"sam@harborprint.example", "Sam Okafor", "guest"},
}

const (
	maya  = "maya@northwind.example"
	tomas = "tomas@northwind.example"
	ines  = "ines@northwind.example"
	jonas = "jonas@northwind.example"
	aiko  = "aiko@northwind.example"
	sam   = "sam@harborprint.example"
)

type project struct {
	key, name, description, status, visibility, lead string
	members                                          map[string]string
	authors                                          []string
	tasks                                            []task
}

type task struct {
	title, status, priority, assignee string
	dueIn                             int // days from today; 0: no date
	description                       string
	comments                          []string
}

// What the agent leaves, in the project of that key.
const (
	agentProject = "APP"
	agentTask    = "Collect what the crews reported about checklists"
	agentText    = "Eleven reports of the last two weeks, by how often they were made."
	agentComment = "Seven of them are about photographs that are taken twice. I can make tasks of the rest when you have looked at them."
)

var projects = []project{
	{
		key: "WEB", name: "Website relaunch", status: "active", visibility: "organization", lead: ines,
		description: "The new public site: faster, accessible, in three languages. Goes live before the spring catalogue.",
		members:     map[string]string{jonas: "contributor", aiko: "contributor", sam: "viewer"}, authors: []string{ines, jonas, aiko},
		tasks: []task{
			{"Agree on the page inventory", "done", "high", ines, -21, "List every page of the old site and what becomes of it.", []string{"Finance wants to keep the annual reports, so they move to an archive."}},
			{"Write the content style guide", "done", "medium", aiko, -14, "", nil},
			{"Choose the typeface pair", "done", "medium", aiko, -12, "Two families at most, both with Vietnamese.", []string{"Went with the second proposal. Licences are bought.", "Thank you, the samples look great on a phone."}},
			{"Build the component library", "in_progress", "high", jonas, 5, "Buttons, fields, cards, tables; light and dark.", []string{"Tables are the hard part: the price list has 14 columns."}},
			{"Landing page: first version", "in_progress", "high", jonas, 3, "", nil},
			{"Translate navigation and footer", "todo", "medium", aiko, 9, "German, French and Japanese.", nil},
			{"Check colour contrast on every template", "review", "medium", ines, 2, "WCAG 2.2 AA, both themes.", []string{"Two chips in the dark theme fail at 4.2:1. Fixed in the last build."}},
			{"Redirect map for old addresses", "todo", "high", jonas, 12, "412 addresses that others link to.", nil},
			{"Cookie notice, or none at all", "blocked", "medium", maya, 7, "Needs a word from legal: we set no cookies before sign-in.", []string{"Asked again on Monday."}},
			{"Measure page weight in the build", "todo", "low", jonas, 20, "Fail the build above 150 KB.", nil},
			{"Contact form without a captcha", "todo", "medium", "", 14, "", nil},
			{"Photographs of the new workshop", "in_progress", "low", sam, 6, "Sam brings the prints on Thursday.", nil},
			{"Search that understands plurals", "todo", "low", "", 0, "", nil},
			{"Press page with downloads", "todo", "low", aiko, 18, "", nil},
			{"Dress rehearsal of the switch", "todo", "critical", ines, 24, "With the redirect map in place, on a Sunday.", nil},
			{"Take the old server off the network", "todo", "medium", tomas, 40, "Two weeks after the switch, not before.", nil},
		},
	},
	{
		key: "APP", name: "Field app 2.0", status: "active", visibility: "organization", lead: ines,
		description: "Offline first for the installation teams: drawings, checklists and photographs without a network.",
		members:     map[string]string{jonas: "lead", aiko: "contributor"}, authors: []string{jonas, ines, aiko},
		tasks: []task{
			{"Sync protocol: write down the conflict rules", "done", "critical", jonas, -18, "Last writer wins is not good enough for checklists.", []string{"Merged. Checklists merge item by item, drawings ask."}},
			{"Encrypt the local store", "done", "critical", jonas, -9, "", nil},
			{"Checklists offline", "in_progress", "critical", jonas, 4, "", []string{"Works in flight mode for a day; the queue drains in 3 s on 4G.", "Please test with the 900-item list of the harbour job."}},
			{"Photograph upload resumes after a break", "review", "high", aiko, 1, "", nil},
			{"Sign-in with the company account", "todo", "high", jonas, 15, "", nil},
			{"Crash on devices with less than 2 GB", "in_progress", "high", aiko, 2, "Only when a drawing with more than 40 layers is open.", []string{"Reproduced on the old tablet. It is the thumbnail cache."}},
			{"Dark theme for night work", "todo", "medium", aiko, 21, "", nil},
			{"Larger touch targets: gloves", "todo", "high", aiko, 8, "At least 56 points; measured with the winter gloves.", nil},
			{"Drawings: zoom to a marked spot", "todo", "medium", jonas, 16, "", nil},
			{"Battery: under 8 % per shift in the background", "blocked", "medium", jonas, 11, "Waits for the profiler licence.", nil},
			{"Onboarding in three screens", "todo", "low", ines, 25, "", nil},
			{"Beta with the Rotterdam crew", "todo", "high", ines, 28, "Eight people, two weeks.", nil},
			{"Report: what crews look up most", "todo", "low", "", 0, "", nil},
			{"Remove the old sync endpoint", "todo", "medium", tomas, 60, "When the last 1.x device has updated.", nil},
			{"Accessibility pass with a screen reader", "todo", "medium", aiko, 19, "", nil},
			{"Release notes people read", "todo", "low", ines, 30, "", nil},
		},
	},
	{
		key: "OPS", name: "Operations", status: "active", visibility: "organization", lead: tomas,
		description: "What keeps the lights on: backups, machines, certificates, suppliers.",
		members:     map[string]string{jonas: "viewer"}, authors: []string{tomas, maya},
		tasks: []task{
			{"Quarterly restore of a backup", "done", "critical", tomas, -5, "Into an empty machine, by somebody who did not set it up.", []string{"41 minutes from nothing to a working copy. Notes are in the handbook."}},
			{"Rotate the build pipeline's token", "done", "high", tomas, -3, "With an hour of grace; the old value was last used at 09:12.", nil},
			{"Certificate of the print gateway", "in_progress", "critical", tomas, 1, "Expires on Friday.", []string{"Requested, waiting for the supplier."}},
			{"Move the log archive to cheaper storage", "todo", "medium", tomas, 22, "", nil},
			{"Second internet line for the workshop", "blocked", "high", maya, 13, "The provider has missed two appointments.", nil},
			{"Offboarding checklist", "review", "high", maya, 2, "Accounts, keys, devices, shared passwords.", []string{"Added: look at who is named in tokens and agents."}},
			{"Label the server room cables", "todo", "low", tomas, 0, "", nil},
			{"Renew the door system contract", "todo", "medium", maya, 35, "", nil},
			{"Alarm when a certificate has 21 days left", "todo", "high", tomas, 9, "", nil},
			{"Supplier review: hosting", "todo", "medium", maya, 33, "", nil},
			{"Inventory of machines nobody owns", "in_progress", "medium", tomas, 6, "", []string{"Seven so far. Two of them are switched off and warm."}},
			{"Printer on the second floor", "todo", "low", "", 0, "It is always the printer.", nil},
			{"Time servers drift by two seconds", "done", "medium", tomas, -8, "", nil},
			{"Fire drill for the data", "todo", "high", tomas, 44, "Pretend that the office is gone; work a day from the backup.", nil},
		},
	},
	{
		key: "HQ", name: "Office move", status: "planning", visibility: "private", lead: maya,
		description: "Confidential until the lease is signed: the move to the old shipyard.",
		members:     map[string]string{aiko: "contributor", sam: "contributor"}, authors: []string{maya, aiko},
		tasks: []task{
			{"Negotiate the break clause", "in_progress", "critical", maya, 4, "Five years at most before the first exit.", []string{"They offer seven. Holding at five."}},
			{"Floor plan with quiet rooms", "review", "high", aiko, 6, "", []string{"Third version: the workshop gets the daylight."}},
			{"Estimate of the moving company", "done", "medium", aiko, -4, "", nil},
			{"Noise measurement at the crane", "todo", "medium", aiko, 10, "", nil},
			{"Signs and printing", "todo", "low", sam, 26, "Sam knows the lettering of the old halls.", nil},
			{"Tell everybody", "todo", "critical", maya, 15, "After the signature, before the newspaper.", nil},
			{"Bicycle parking for forty", "todo", "low", "", 0, "", nil},
			{"Budget: furniture we keep", "in_progress", "medium", aiko, 8, "", nil},
			{"Internet at the shipyard", "todo", "high", maya, 12, "Two lines, two providers, from the first day.", nil},
			{"Permission for the terrace", "blocked", "low", maya, 50, "The city asks for a survey of the nesting gulls.", []string{"The gulls were there first."}},
			{"Insurance for the move", "todo", "medium", maya, 17, "", nil},
			{"Farewell party in the old house", "todo", "low", aiko, 38, "", nil},
			{"Keys: who has how many", "todo", "medium", aiko, 21, "", nil},
			{"First team that moves", "todo", "medium", maya, 29, "The workshop, because it needs the longest.", nil},
		},
	},
}
