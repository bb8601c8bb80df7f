package rules

import (
	"encoding/json"
	"slices"
)

// Schema returns the JSON Schema of a policy, in Draft 4, which the editors'
// TOML support reads. It is made from the table by which Load reads; what only
// several values together can get wrong is left to Load. Dates of TOML count as
// strings.
func Schema() []byte {
	root := schemaOfKeys(keysOf("the policy", rootKeys))
	root["$schema"] = "http://json-schema.org/draft-04/schema#"
	root["title"] = "fwctl policy"
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic("schema: " + err.Error()) // it is made of maps, lists, strings and numbers
	}
	return append(out, '\n')
}

type object = map[string]any

// schemaOfKeys describes a table with fixed keys.
func schemaOfKeys(ks *keys) object {
	properties := object{}
	var must []string
	for _, k := range ks.list {
		s := schemaOf(k.form)
		s["description"] = k.doc
		properties[k.name] = s
		if k.required {
			must = append(must, k.name)
		}
	}
	out := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(must) > 0 {
		out["required"] = must
	}
	return out
}

// schemaOf describes a value.
func schemaOf(f form) object {
	var all []object
	if f.kinds&stringKind != 0 {
		all = append(all, schemaOfString(f))
	}
	if f.kinds&(dateKind|dateTimeKind) != 0 {
		all = append(all, object{"type": "string", "pattern": `^(20[0-9]{2}|2100)-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2}))?$`})
	}
	if f.kinds&integerKind != 0 {
		all = append(all, schemaOfInteger(f))
	}
	if f.kinds&booleanKind != 0 {
		all = append(all, object{"type": "boolean"})
	}
	if f.kinds&arrayKind != 0 {
		all = append(all, schemaOfArray(f))
	}
	if f.kinds&tableKind != 0 {
		all = append(all, schemaOfTable(f))
	}
	if len(all) == 1 {
		return all[0]
	}
	return object{"anyOf": all}
}

func schemaOfString(f form) object {
	s := object{"type": "string"}
	if len(f.words) > 0 {
		s["enum"] = slices.Clone(f.words)
	}
	if f.pattern != "" {
		s["pattern"] = f.pattern
	}
	return s
}

func schemaOfInteger(f form) object {
	s := object{"type": "integer"}
	if f.max > 0 {
		s["minimum"], s["maximum"] = f.min, f.max
	}
	return s
}

func schemaOfArray(f form) object {
	s := object{"type": "array", "items": schemaOf(*f.item)}
	if f.some {
		s["minItems"] = 1
	}
	return s
}

func schemaOfTable(f form) object {
	switch {
	case f.table != nil:
		return schemaOfKeys(f.table)
	case f.named:
		return object{"type": "object", "patternProperties": object{namePattern: schemaOf(*f.values)}, "additionalProperties": false}
	case f.values != nil:
		return object{"type": "object", "additionalProperties": schemaOf(*f.values)}
	}
	return object{"type": "object"}
}
