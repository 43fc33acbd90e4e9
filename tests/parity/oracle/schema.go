package main

import (
	"context"
	"os"
	"path/filepath"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

const storedVersion = "v1"

// How much of `generateName` the API server keeps, and something like what it adds.
const (
	prefixMax = 58
	suffix    = "xxxxx"
)

// What the API server knows of a kind.
type kind struct {
	structure *structuralschema.Structural
	schema    validation.SchemaValidator
	rules     *cel.Validator
}

func readDefinitions(folder string) (map[string]*kind, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	kinds := map[string]*kind{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var definition apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(text, &definition); err != nil {
			return nil, err
		}
		for _, version := range definition.Spec.Versions {
			if version.Name != storedVersion {
				continue
			}
			kind, err := newKind(version.Schema.OpenAPIV3Schema)
			if err != nil {
				return nil, err
			}
			kinds[definition.Spec.Names.Kind] = kind
		}
	}
	return kinds, nil
}

func newKind(definition *apiextensionsv1.JSONSchemaProps) (*kind, error) {
	var schema apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(definition, &schema, nil); err != nil {
		return nil, err
	}
	structure, err := structuralschema.NewStructural(&schema)
	if err != nil {
		return nil, err
	}
	validator, _, err := validation.NewSchemaValidator(&schema)
	if err != nil {
		return nil, err
	}
	return &kind{structure, validator, cel.NewValidator(structure, true, celconfig.PerCallLimit)}, nil
}

// What the API server does to a new object, in its order. The object changes as it would on its way into the store; its status stays, as
// if it had been there for a while. Fields that the schema does not have are gone, and returned.
func (k *kind) admit(content map[string]any) ([]string, error) {
	object := &unstructured.Unstructured{Object: content}
	metadata, found, err := objectmeta.GetObjectMeta(content, false)
	if err != nil {
		return nil, err
	}
	unknown := pruning.PruneWithOptions(content, k.structure, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	defaulting.PruneNonNullableNullsWithoutDefaults(content, k.structure)
	if err := objectmeta.Coerce(nil, content, k.structure, false, false); err != nil {
		return nil, err
	}
	if found {
		if err := objectmeta.SetObjectMeta(content, metadata); err != nil {
			return nil, err
		}
	}
	defaulting.Default(content, k.structure)
	if prefix := object.GetGenerateName(); object.GetName() == "" && prefix != "" {
		object.SetName(prefix[:min(len(prefix), prefixMax)] + suffix)
	}
	if object.GetNamespace() == "" {
		object.SetNamespace("default")
	}

	errs := metavalidation.ValidateObjectMetaAccessor(object, true, metavalidation.NameIsDNSSubdomain, field.NewPath("metadata"))
	errs = append(errs, validation.ValidateCustomResource(nil, content, k.schema)...)
	errs = append(errs, objectmeta.Validate(nil, content, k.structure, false)...)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, k.structure, content)...)
	if len(errs) == 0 && k.rules != nil {
		errs, _ = k.rules.Validate(context.Background(), nil, k.structure, content, nil, celconfig.RuntimeCELCostBudget)
	}
	return unknown, errs.ToAggregate()
}
